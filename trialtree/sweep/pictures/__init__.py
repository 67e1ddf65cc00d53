"""Pictures of a sweep: Optuna's plots as PNG and as pages for a browser.

study.py   the sweep as a study of Optuna's
plots.py   which plots there are
png.py     each as a PNG
page.py    each as a page, and one that shows all
drawing.py all of them: `draw`
"""
