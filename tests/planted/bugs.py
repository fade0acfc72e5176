"""All planted bugs. To add one: a function that plants it and a `Bug`, in the file it belongs to."""

from tests.planted import of_agreement, of_links, of_records, of_spreading

BUGS = (*of_records.BUGS, *of_links.BUGS, *of_spreading.BUGS, *of_agreement.BUGS)
