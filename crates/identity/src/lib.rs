//! Who a terminal is: keys, tokens, and the claims that make an end id.
