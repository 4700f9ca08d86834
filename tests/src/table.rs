//! Text in columns.

use std::fmt;

/// A title and rows: a name to the left, values to the right.
#[derive(Debug)]
pub struct Table {
    title: String,
    rows: Vec<(String, Vec<String>)>,
}

impl Table {
    /// Makes a table without rows.
    pub const fn new(title: String) -> Self {
        Self { title, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, name: &str, values: impl Iterator<Item = String>) {
        self.rows.push((name.to_owned(), values.collect()));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        let name_width = self.rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        let value_width = self.rows.iter().flat_map(|(_, values)| values).map(String::len).max().unwrap_or_default();
        for (name, values) in &self.rows {
            write!(f, "  {name:name_width$}")?;
            for value in values {
                write!(f, "  {value:>value_width$}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new("Title".to_owned());
        table.row("", ["one".to_owned(), "two".to_owned()].into_iter());
        table.row("name", ["1.5".to_owned(), "10000".to_owned()].into_iter());
        assert_eq!(table.to_string(), "Title\n          one    two\n  name    1.5  10000\n");
    }
}
