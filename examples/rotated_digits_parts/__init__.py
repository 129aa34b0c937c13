"""What examples/rotated_digits.py needs beside its models and their training: data, measuring, pictures, options."""
