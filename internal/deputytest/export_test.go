package deputytest

// Missing is what every part calls that a machine may lack.
var Missing = missing
