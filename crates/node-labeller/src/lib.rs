//! Will label Kairos nodes with what they are; holds nothing yet.
