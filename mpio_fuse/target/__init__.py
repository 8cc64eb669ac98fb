"""A logical unit as the storage system sees it: registrations, reservations and whom they let in.

PURE.  Empty so far: the simulated transport will stand on it, and the order of the layers keeps its place.
"""
