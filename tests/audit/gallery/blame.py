"""Reads a report: which expected module or operation each accused row belongs to."""


def culprit(row, expected):
    """Returns the expected module or operation that a row holds; None where there is none."""
    for key in sorted(expected, key=len, reverse=True):
        words = {word for member in row.members for word in member.split()}
        if key == row.path or row.path.startswith(f"{key}.") or key in row.name.split(" + ") or key in words:
            return key
    return None


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
