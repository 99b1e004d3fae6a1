# SPDX-License-Identifier: Apache-2.0
"""`kubectl drover doctor`: read what there is, judge it by pure checks, say it, and mend what is safe to mend."""
