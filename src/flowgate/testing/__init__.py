"""For the tests of those who use or extend flowgate: fakes, virtual time, and each contract's promises as tests."""
