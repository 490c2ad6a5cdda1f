"""Who trades with whom: order values, the book, and the rules of admission. Pure: no clock, no I/O, integers only."""
