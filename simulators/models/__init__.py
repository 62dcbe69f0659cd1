"""Physics and control as data plus pure functions of arrays: no mosaik, no I/O, no clock, no logging."""
