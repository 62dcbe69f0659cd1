"""Hardware in the loop: the place for devices that stand in for simulated ones. Nothing is here yet."""
