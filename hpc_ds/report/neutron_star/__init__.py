"""The page of the neutron-star study: what networks and the exact posterior say of the same stars."""
