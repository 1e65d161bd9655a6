"""What can be done to a network that exists: freeze, regroup, behead, tap, fold, convolutionalise, average, slim.

One file per operation. Everything takes any `nn.Module`; what needs the contract of `models/base.py` says so.
"""
