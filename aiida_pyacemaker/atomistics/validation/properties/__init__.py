"""Our properties, one folder each: what it is and how it is judged and shown, how it is computed, and its template."""
