"""The pure stages: frame in, frame out, each value computed once per distinct input."""
