"""What a notebook shows of registries, models, versions and datasets; it never raises, and says what it cannot read.

Each module makes one view from what folds and records tell, by `modelkeep.markup`; none knows the class that shows it.
"""
