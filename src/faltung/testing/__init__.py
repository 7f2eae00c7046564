"""The suites that judge algebras, kernels and methods, shipped so that plug-ins can use them.

`problems` draws, `conformance` holds a method against the definition, `laws` tests what an algebra declares and what every
convolution keeps, `kernels` holds compiled code against its contract. Each check is a plain function that raises
AssertionError with a line that repeats the failure; none needs pytest. The laws and the strategies need hypothesis.
"""
