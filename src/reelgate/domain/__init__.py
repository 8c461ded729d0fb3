"""Pure vocabulary and rules of the product. Standard library only, no I/O."""
