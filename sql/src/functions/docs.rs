//! The list of functions for users: ours from their definitions, DataFusion's from its own documentation.

use super::{Category, definitions};

/// One function as `tidemill functions` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionDoc {
    pub name: String,
    pub category: &'static str,
    pub usage: String,
    pub doc: String,
}

/// Flink's scalar functions, by category and name.
pub fn scalar_docs() -> Vec<FunctionDoc> {
    let mut docs: Vec<FunctionDoc> = definitions()
        .map(|definition| FunctionDoc {
            name: definition.name.to_uppercase(),
            category: category_name(definition.category),
            usage: definition.usage.to_string(),
            doc: definition.doc.to_string(),
        })
        .collect();
    docs.sort_by(|a, b| (a.category, &a.name).cmp(&(b.category, &b.name)));
    docs
}

/// DataFusion's scalar functions that no function of ours hides, by name.
pub fn library_docs() -> Vec<FunctionDoc> {
    let ours: Vec<&str> =
        definitions().flat_map(|d| std::iter::once(d.name).chain(d.aliases.iter().copied())).collect();
    let library = datafusion_functions::all_default_functions();
    let nested = datafusion_functions_nested::all_default_nested_functions();
    let visible = library.into_iter().chain(nested).filter(|function| !ours.contains(&function.name()));
    let mut docs: Vec<FunctionDoc> = visible
        .map(|function| {
            let documentation = function.documentation();
            FunctionDoc {
                name: function.name().to_uppercase(),
                category: "DataFusion",
                usage: documentation
                    .map_or_else(|| format!("{}(...)", function.name()), |doc| doc.syntax_example.clone()),
                doc: documentation.map_or_else(String::new, |doc| first_sentence(&doc.description)),
            }
        })
        .collect();
    docs.sort_by(|a, b| a.name.cmp(&b.name));
    docs.dedup_by(|a, b| a.name == b.name);
    docs
}

fn first_sentence(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.split_once(". ").map_or(line, |(first, _)| first).trim_end_matches('.').to_string() + "."
}

fn category_name(category: Category) -> &'static str {
    match category {
        Category::Text => "Text",
        Category::Math => "Math",
        Category::Conditional => "Conditional",
        Category::Time => "Time",
        Category::Json => "JSON",
        Category::Hash => "Hash",
        Category::Collection => "Collection",
    }
}
