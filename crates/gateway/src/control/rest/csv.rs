//! API keys as comma-separated values: a line of column names, then a line for each key.
//!
//! Columns are known by their names, in any case and order; unknown ones are passed over. A value between quotes may hold commas,
//! line ends and, doubled, quotes. What cannot be read of one key is said with its number, and the others stand.

/// A key as a file has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) description: String,
    /// Where it says nothing, it is.
    pub(crate) enabled: bool,
    pub(crate) plans: Vec<String>,
}

/// Columns of a file; `None` for those that nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Name,
    Key,
    Description,
    Enabled,
    UsagePlanIds,
}

impl Column {
    fn named(text: &str) -> Option<Self> {
        Some(match text.trim().to_ascii_lowercase().as_str() {
            "name" => Self::Name,
            "key" => Self::Key,
            "description" => Self::Description,
            "enabled" => Self::Enabled,
            "usageplanids" => Self::UsagePlanIds,
            _ => return None,
        })
    }
}

/// Reads a file; `None` when it has no columns for names and values of keys.
pub(crate) fn read(text: &str) -> Option<Vec<Row>> {
    let mut lines = records(text.strip_prefix('\u{feff}').unwrap_or(text)).into_iter();
    let columns: Vec<Option<Column>> =
        lines.next()?.iter().map(|name| Column::named(name)).collect();
    let has = |column| columns.contains(&Some(column));
    (has(Column::Key) && has(Column::Name)).then(|| {
        let is_blank = |fields: &Vec<String>| fields.iter().all(|field| field.trim().is_empty());
        lines.filter(|fields| !is_blank(fields)).map(|fields| row(&columns, &fields)).collect()
    })
}

fn row(columns: &[Option<Column>], fields: &[String]) -> Row {
    let mut row = Row { enabled: true, ..Row::default() };
    for (column, field) in columns.iter().zip(fields) {
        let field = field.trim();
        match column {
            Some(Column::Name) => field.clone_into(&mut row.name),
            Some(Column::Key) => field.clone_into(&mut row.value),
            Some(Column::Description) => field.clone_into(&mut row.description),
            Some(Column::Enabled) => {
                row.enabled = field.is_empty() || field.eq_ignore_ascii_case("true");
            }
            Some(Column::UsagePlanIds) => {
                let ids = field.split(',').map(str::trim).filter(|id| !id.is_empty());
                row.plans = ids.map(str::to_owned).collect();
            }
            None => {}
        }
    }
    row
}

/// The fields of each line. A quote that is never closed reaches to the end.
fn records(text: &str) -> Vec<Vec<String>> {
    let (mut records, mut fields, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut is_quoted, mut is_blank, mut chars) = (false, true, text.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '"' if is_quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if is_quoted => is_quoted = false,
            '"' if is_blank => {
                field.clear();
                (is_quoted, is_blank) = (true, false);
            }
            ',' if !is_quoted => {
                fields.push(std::mem::take(&mut field));
                is_blank = true;
            }
            '\r' if !is_quoted && chars.peek() == Some(&'\n') => {}
            '\n' if !is_quoted => {
                fields.push(std::mem::take(&mut field));
                records.push(std::mem::take(&mut fields));
                is_blank = true;
            }
            c => {
                // Asked of each character once: a field may be as long as the file.
                is_blank &= c.is_whitespace();
                field.push(c);
            }
        }
    }
    if !field.is_empty() || !fields.is_empty() {
        fields.push(field);
        records.push(fields);
    }
    records
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(name: &str, value: &str) -> Row {
        Row { name: name.to_owned(), value: value.to_owned(), enabled: true, ..Row::default() }
    }

    #[test]
    fn columns_come_in_any_order_and_case() {
        let text = "name,KEY,colour,Description,enabled,usageplanIds\r\n\
                    one,v1,red,,,\n\
                    two, v2 ,\"a, \"\"b\"\"\nc\",\"a, \"\"b\"\"\nc\",FALSE,\"p1, p2\"\n\n\
                    three,v3";
        let two = Row {
            description: "a, \"b\"\nc".to_owned(),
            enabled: false,
            plans: vec!["p1".to_owned(), "p2".to_owned()],
            ..key("two", "v2")
        };
        assert_eq!(read(text).unwrap(), [key("one", "v1"), two, key("three", "v3")]);
        assert_eq!(read("\u{feff}Key,Name\nv,n\n").unwrap(), [key("n", "v")]);
    }

    #[test]
    fn a_file_without_its_columns_is_none() {
        for text in ["", "name\nx", "Key\nx", "a,b,c\n1,2,3"] {
            assert_eq!(read(text), None, "{text:?}");
        }
        assert_eq!(read("name,key"), Some(Vec::new()));
    }

    proptest! {
        #[test]
        fn whatever_comes_does_no_harm(text in "[a,\"\r\n ]{0,60}") {
            let _ = read(&text);
            let _ = read(&format!("name,key\n{text}"));
        }

        #[test]
        fn quoted_values_come_back(value in "\\PC{0,20}") {
            let text = format!("key,name\n\"{}\",n", value.replace('"', "\"\""));
            let rows = read(&text).unwrap();
            prop_assert_eq!(&rows[0].value, value.trim());
        }
    }
}
