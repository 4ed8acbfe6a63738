"""paths -> records -> entries -> a page, Markdown, and the tables of the documentation.

records.py   run folders and summaries, read and checked
entries.py   the runs of all seeds, joined row by row
figures.py   numbers as text
fill.py      the tables and figures of a Markdown file, between markers
pictures.py  a picture of bars, as README has it, or of lines: bars.py and lines.py
page.py      one self-contained HTML page, and Markdown; svg.py draws its curves
"""

from .entries import Entry as Entry, joined as joined, Sample as Sample
from .fill import bare as bare, fill as fill
from .page import markdown as markdown, page as page
from .pictures import picture as picture
from .records import read as read, Record as Record
