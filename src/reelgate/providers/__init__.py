"""One file per upstream: translate, submit, poll, fetch. No money, no time, no storage."""
