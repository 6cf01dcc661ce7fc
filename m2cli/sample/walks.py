"""How people and robots go through the shop: scripts written by chance, each event with its cause."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from m2cli.sample.scenes import MINUTE, NONE, SECOND, Draft, Script

if TYPE_CHECKING:
    from m2cli.sample.draws import Dice

_ARRIVALS = ("search", "search", "direct", "direct", "campaign", "campaign", "social", "link")
_REFERRERS = {"search": "engine", "social": "social", "link": "blog"}
_BLOCKS = {  # what each kind of page shows: kind, how many, why
    "home": (("banner", 2, "campaign"), ("product", 6, "recommendation")),
    "campaign": (("banner", 1, "campaign"), ("product", 6, "campaign")),
    "search": (("product", 8, "search"),),
    "list": (("product", 8, "bestseller"),),
    "product": (("product", 8, "recommendation"),),
    "basket": (("product", 4, "also_bought"),),
}


class Shown(NamedTuple):
    """A product on the page."""

    scene: int
    slot: int


class Walk:
    """One visitor on the way: the page they are on, what it shows, what is in the basket."""

    def __init__(self, dice: Dice, *, is_log: bool) -> None:
        self.draft = Draft(is_log=is_log)
        self.dice, self.is_log = dice, is_log
        self.page = NONE
        self.place: tuple[str, int] | None = None
        self.shown: list[Shown] = []
        self.basket: list[tuple[int, int, int]] = []  # the cart event, the product's slot, how many
        self._slots = 0

    def arrive(self, reason: str | None = None, kind: str | None = None) -> None:
        """Come to the shop: an `enter` with the reason, and the page it leads to; a page alone if direct."""
        reason = reason or self.dice.pick(*_ARRIVALS)
        kind = kind or {"search": "search", "campaign": "campaign", "direct": "home"}.get(reason, "product")
        came_from, cause = _REFERRERS.get(reason), NONE
        if reason != "direct":
            entity = (kind, self._slots + 1)
            cause = self.draft.enter(reason, *entity)
        self.place = (came_from, 0) if came_from else None
        self.go(kind, cause, reason=reason if cause == NONE else None)

    def go(self, kind: str, cause: int, slot: int | None = None, reason: str | None = None) -> None:
        """To a page of that kind: its assets, what it shows, what the visitor saw of it."""
        slot = self._next_slot() if slot is None else slot
        self.page = self.draft.page(kind, slot, cause, referrer=self.place, reason=reason)
        self.place = (kind, slot)
        if self.dice.chance(40):
            status = 304 if self.dice.chance(30) else 200
            self.draft.ask("asset", self._next_slot(), self.page, referrer=self.place, status=status)
        self.shown = []
        if kind == "product":  # what it is about, with its own hook
            self.shown.append(Shown(self.draft.show(self.page, "product", slot, 1, "product_page"), slot))
        for block, count, why in _BLOCKS.get(kind, ()):
            self._show(block, count, why)

    def _show(self, kind: str, count: int, reason: str) -> None:
        block = [
            Shown(self.draft.show(self.page, kind, slot, position, reason), slot)
            for position, slot in enumerate((self._next_slot() for _ in range(count)), start=1)
        ]
        for position, shown in enumerate(block[: 1 + self.dice.number(count)], start=1):
            if self.dice.chance(45):
                self.draft.see(shown.scene, kind, shown.slot, position)
        if kind == "product":
            self.shown += block

    def dwell(self) -> None:
        """Read the page: seconds, now and then minutes."""
        self.draft.wait((2 * MINUTE, 9 * MINUTE) if self.dice.chance(8) else (3 * SECOND, 50 * SECOND))

    def open_product(self, place: int | None = None) -> None:
        """Click a product that the page shows (by its place among them) and go to its page."""
        shown = self.shown[self.dice.number(len(self.shown)) if place is None else place]
        click = self.draft.click(shown.scene, "product", shown.slot, "product_page")
        self.go("product", click, shown.slot)

    def fill_basket(self, place: int = 0) -> None:
        """Click `add_to_cart` on a product that the page shows: on its own page it is the first."""
        shown = self.shown[place]
        click = self.draft.click(shown.scene, "product", shown.slot, "add_to_cart")
        quantity = 1 + self.dice.number(3) // 2
        self.draft.ask("api", 0, click, referrer=self.place, method="POST")
        self.basket.append((self.draft.put_in_cart(click, shown.slot, quantity), shown.slot, quantity))

    def look_elsewhere(self) -> None:
        """A list or a search that was typed in or chosen from the menu: caused by the page it was on."""
        self.go(self.dice.pick("list", "search", "list", "home"), self.page)

    def pay(self, *currencies: str) -> None:
        """Basket, checkout (where customers log in), and a purchase a line, in turn of the currencies."""
        self.go("basket", self.basket[-1][0])
        self.dwell()
        self.go("checkout", self.page)
        self.draft.is_known = True
        self.dwell()
        self.go("thanks", self.page)
        for n, (cart, slot, quantity) in enumerate(self.basket):
            self.draft.buy(cart, slot, quantity, currencies[n % len(currencies)])
        self.basket = []

    def _next_slot(self) -> int:
        self._slots += 1
        return self._slots

    def end(self, **about: object) -> Script:
        """The script of what was done."""
        return Script(scenes=tuple(self.draft.scenes), **about)  # type: ignore[arg-type]


def walk_about(walk: Walk) -> None:
    """Look around, and end with something in the basket one time in seven or so."""
    walk.draft.is_known = walk.dice.chance(15)
    walk.arrive()
    for _ in range(walk.dice.number(5)):
        walk.dwell()
        if walk.shown and walk.dice.chance(65):
            walk.open_product()
            if walk.dice.chance(30):
                walk.dwell()
                walk.fill_basket()
        else:
            walk.look_elsewhere()


def write_visit(walk: Walk) -> Script:
    """An everyday visit; half of the filled baskets are paid."""
    walk_about(walk)
    if walk.basket and walk.dice.chance(50):
        walk.dwell()
        walk.pay("GBP" if walk.dice.chance(10) else "EUR")
    return walk.end()


def write_robot(dice: Dice, *, is_log: bool) -> Script:
    """A robot: page after page at its pace, no cause, no cookie, nothing seen or clicked."""
    draft = Draft(is_log=is_log)
    pace = (1 + dice.number(20)) * SECOND
    draft.ask("home", 0, NONE, method="HEAD")
    for n in range(30 + dice.number(50)):
        kind, gap = dice.pick("product", "product", "product", "list", "search"), (pace, 2 * pace)
        if dice.chance(3):
            draft.ask(kind, 4 * n, NONE, gap=gap, status=404)
            continue
        page = draft.page(kind, 4 * n, gap=gap)
        for position in range(1, 1 + dice.number(4)):
            draft.show(page, "product", 4 * n + position, position, "bestseller")
    return Script(scenes=tuple(draft.scenes), is_robot=True)
