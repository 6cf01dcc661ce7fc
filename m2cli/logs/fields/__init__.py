"""From what a line says to the columns of the event: values, times, requests, addresses, cookies, escapes."""
