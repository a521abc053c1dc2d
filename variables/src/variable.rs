//! One declaration of variables, from which come the struct, the defaults, the table and the checks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{ConfigErrors, HumanDuration};

/// What every variable's name begins with.
pub const PREFIX: &str = "APP_";

/// What a variable is, for the table that `config` and the docs show.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// The field's name; the variable's is [`PREFIX`] and this in upper case.
    pub field: &'static str,
    /// What it sets, in a sentence.
    pub meaning: &'static str,
    /// What a value has to look like, but for its bounds.
    pub expects: &'static str,
    /// The shortest and the longest that a duration may be.
    pub bounds: Option<(HumanDuration, HumanDuration)>,
    /// Whether its value is never shown.
    pub secret: bool,
    /// Whether the start fails without it.
    pub required: bool,
    /// What is in force when it is not set.
    pub default: fn() -> Option<String>,
    /// Whether its type takes this value.
    pub accepts: fn(&str) -> bool,
}

impl Variable {
    /// The name in the environment: `APP_DRAIN_DELAY` for `drain_delay`.
    pub fn name(&self) -> String {
        name(self.field)
    }

    /// What a value has to look like.
    pub fn expected(&self) -> String {
        match self.bounds {
            Some((shortest, longest)) => format!("{}, {shortest} to {longest}", self.expects),
            None => self.expects.to_owned(),
        }
    }

    /// Whether this is such a value.
    pub fn takes(&self, text: &str) -> bool {
        let is_within = |(shortest, longest)| {
            parse::<HumanDuration>(text).is_some_and(|duration| (shortest..=longest).contains(&duration))
        };
        (self.accepts)(text) && self.bounds.is_none_or(is_within)
    }

    /// The same variable, a duration, with bounds.
    pub const fn within(self, shortest: HumanDuration, longest: HumanDuration) -> Self {
        Self { bounds: Some((shortest, longest)), ..self }
    }

    /// The same variable, whose value is never shown.
    pub const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    /// Its row of the table in the docs, in Markdown.
    pub fn row(&self) -> String {
        let default = match (self.default)() {
            Some(value) => format!("`{value}`"),
            None if self.required => "required".to_owned(),
            None => "–".to_owned(),
        };
        let bounds = self.bounds.map(|(shortest, longest)| format!(" {shortest} to {longest}."));
        format!("| `{}` | {default} | {}{} |", self.name(), self.meaning, bounds.unwrap_or_default())
    }
}

/// The variable of a field.
pub(crate) fn name(field: &str) -> String {
    format!("{PREFIX}{}", field.to_uppercase())
}

/// A set of variables, which may be checked beside a configuration `C`; [`declare!`](crate::declare) declares one.
pub trait Variables<C>: Sized + Send + Sync + 'static {
    /// Each of them, in the order of the table.
    const LIST: &'static [Variable];

    /// Takes values that were each accepted, by field; `None` when a required one is missing.
    fn from_values(values: &BTreeMap<&'static str, String>) -> Option<Self>;

    /// Each value as it is written, in the order of the table; `None` where there is none. Secrets are redacted.
    fn shown(&self) -> Vec<Option<String>>;

    /// Finds what is wrong with values that are each right on their own.
    fn check(&self, _config: &C, _errors: &mut ConfigErrors) {}
}

/// The set of a program that has no variables of its own.
impl<C> Variables<C> for () {
    const LIST: &'static [Variable] = &[];

    fn from_values(_values: &BTreeMap<&'static str, String>) -> Option<Self> {
        Some(())
    }

    fn shown(&self) -> Vec<Option<String>> {
        Vec::new()
    }
}

/// Declares a struct of variables that are read from the environment, and the configuration beside which it is checked:
/// the set itself, or `()`, where there is no other.
///
/// Each line is the variable's meaning, its field and type, its default (without one it is required), what a value
/// has to look like, and what of [`Variable`]'s is to be said of it: `secret` where it is never to be shown, `within`
/// for the bounds of a duration. After the struct may follow [`check`](crate::Variables::check), for what holds between
/// variables.
///
/// ```
/// use landfall_variables::{LoadedConfig, declare};
///
/// declare! {
///     beside ();
///     /// What a page is like.
///     pub struct Pages {
///         /// How many items a page has.
///         page_size: u16 = 20, "a whole number, 0 to 65535";
///     }
/// }
/// let set = [("APP_PAGE_SIZE".into(), "7".into())];
/// assert_eq!(LoadedConfig::<(), Pages>::from_vars(set).unwrap().variables.page_size, 7);
/// let wrong = [("APP_PAGE_SIZES".into(), "7".into())];
/// assert_eq!(
///     LoadedConfig::<(), Pages>::from_vars(wrong).unwrap_err().to_string(),
///     "APP_PAGE_SIZES: expected no such variable; did you mean APP_PAGE_SIZE?"
/// );
/// ```
#[macro_export]
macro_rules! declare {
    (
        beside $config:ty;
        $(#[$outer:meta])*
        $visibility:vis struct $name:ident {
            $($(#[doc = $doc:literal])+ $field:ident: $kind:ty $(= $default:expr)?, $expects:expr
                $(, $also:ident $(($($argument:expr),+))?)*;)+
        }
        $($check:tt)*
    ) => {
        $(#[$outer])*
        #[derive(Debug, Clone)]
        $visibility struct $name {
            $($(#[doc = $doc])+ pub $field: $kind,)+
        }

        impl $crate::Variables<$config> for $name {
            const LIST: &'static [$crate::Variable] = &[$($crate::Variable {
                field: stringify!($field),
                meaning: concat!($($doc),+).trim_ascii_start(),
                expects: $expects,
                bounds: None,
                secret: false,
                required: stringify!($($default)?).is_empty(),
                default: || $crate::declare!(@shown $kind $(, $default)?),
                accepts: |text| $crate::parse::<$kind>(text).is_some(),
            }$(.$also($($($argument),+)?))*),+];

            fn from_values(
                values: &::std::collections::BTreeMap<&'static str, String>,
            ) -> Option<Self> {
                Some(Self {
                    $($field: match values.get(stringify!($field)) {
                        Some(text) => $crate::parse(text)?,
                        None => $crate::declare!(@default $($default)?),
                    },)+
                })
            }

            fn shown(&self) -> Vec<Option<String>> {
                vec![$($crate::shown(&self.$field)),+]
            }

            $($check)*
        }
    };
    (@shown $kind:ty) => { None };
    (@shown $kind:ty, $default:expr) => { $crate::shown::<$kind>(&$default) };
    (@default) => { return None };
    (@default $default:expr) => { $default };
}

/// Reads one value with envy; `None` when its type does not take it.
#[doc(hidden)]
pub fn parse<T: DeserializeOwned>(text: &str) -> Option<T> {
    #[derive(Deserialize)]
    struct Only<T> {
        value: T,
    }
    let variable = ("value".to_owned(), text.to_owned());
    envy::from_iter(std::iter::once(variable)).ok().map(|Only { value }| value)
}

/// A value as the table shows it, which is also how it is written: lists with commas.
#[doc(hidden)]
pub fn shown<T: Serialize>(value: &T) -> Option<String> {
    match serde_json::to_value(value).expect("variables are plain values") {
        Value::Null => None,
        Value::String(text) => Some(text),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().filter_map(shown).collect();
            (!items.is_empty()).then(|| items.join(","))
        }
        other => Some(other.to_string()),
    }
}
