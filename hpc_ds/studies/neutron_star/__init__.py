"""From simulated neutron stars and observed ones to the equation of state."""
