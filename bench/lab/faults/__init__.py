"""
Faults: a lab that was told to lie or to break in one named way, at the place where a real platform does.

``catalogue``  which there are, what they take, and which checks must then fail
``state``      which are planted in a lab; read by the lab's processes
``planting``   plants and clears, from the command line and from tests
``planters``   what planting changes in the cluster or its network, where a fault is more than a line in the state
``changes``    the kinds of such changes, and how each is put back

Nothing outside `bench.lab` knows which faults are planted.
"""
