"""Cold neutron stars: equations of state, the stars that they make, and their curves of mass and radius."""
