//! How things are written for people: escaping, quantities, tables, colours. Pure functions of their
//! input; knows nothing of commands or of where the text goes.

pub mod escape;
pub mod quantity;
pub mod style;
pub mod table;

pub use escape::Escaped;
pub use style::Style;
pub use table::Table;
