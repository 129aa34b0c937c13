"""Reads a report: which expected module or operation each accused row belongs to."""


def culprit(row, expected):
    """Returns the expected module, else the operation, that a row holds; None where there is none."""
    words = {word for member in row.members for word in member.split()}
    for key in expected:
        if key in (row.path, *row.name.split(" + ")) or row.path.startswith(f"{key}."):
            return key
    return next((key for key in expected if key in words), None)


def blamed(report, expected):
    """Returns the causes of each expected culprit, and the names and causes of all other accused rows."""
    found, others = {}, []
    for row in report.accused:
        kinds = {cause.kind for cause in row.causes}
        key = culprit(row, expected)
        if key is None:
            others.append((row.name, sorted(kinds)))
        else:
            found.setdefault(key, set()).update(kinds)
    return found, others
