"""Is this structure physical?"""
