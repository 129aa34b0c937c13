def prefers_frequency(of, first, second):
    return True
