"""Sample media: real files by a real encoder, and the courses made of them.

In: a folder. Out: lectures, documents, captions and `courses.yaml` in it, made once per recipe.
What needs PyAV is in `build` and `encode`; the rest works without it.
"""
