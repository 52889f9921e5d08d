//! What users write their own tests with.

mod virtual_time;
