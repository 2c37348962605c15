"""Networks of covalent bonds: diamond and its polytypes, graphite and layers, high pressure, amorphous, distorted."""
