"""Pictures of what a model does, and the look that all of them share.

A picture is a list of tracks over one time axis (:mod:`ossicle.model.pictures.tracks`). They are
drawn as a page that needs nothing but a browser (:mod:`ossicle.model.pictures.timeline`), or as an
image (:mod:`ossicle.model.pictures.figure`, which needs the extra ``train``).
"""
