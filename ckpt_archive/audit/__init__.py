"""Looks at what is archived and says what is not as it should be; changes nothing."""
