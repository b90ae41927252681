"""A dataset of 1,000, 10,000 or 100,000 users, the same to the byte every time it is made.

What a request costs must not depend on the size: what one reader follows, what one author publishes and what
one article is answered come from the same bounded power laws at every size, and every size has the same tags.
"""
