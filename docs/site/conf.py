"""Settings of the documentation site (Sphinx); ``python docs/site/build.py`` builds it."""

project = "benchbcss"
html_title = "benchbcss"
copyright = "the benchbcss authors, Apache-2.0"
extensions = ["myst_parser", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
root_doc = "index"
nitpicky = True
html_theme = "furo"
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
html_static_path = ["_static"]
html_css_files = ["site.css"]
#: the depth down to which headings can be linked to
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
#: a lexer that cannot read a block shows it as it is; a missing page or anchor is still an error
suppress_warnings = ["misc.highlighting_failure"]
