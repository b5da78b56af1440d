//! How a setting is declared: one line in `settings.rs` gives its key, type, default and meaning.
//!
//! The [`settings!`] macro turns those lines into the typed structs, the table of known keys and
//! the code that loads them. Adding a setting is adding a line.

use crate::{loader::Loader, value::Setting};

/// A setting as the table knows it.
#[derive(Debug, Clone)]
pub struct Key {
    /// Dotted TOML path, for example `storage.s3.bucket`.
    pub path: String,
    /// One sentence for the operator.
    pub doc: &'static str,
    /// What a value looks like, for messages and documentation.
    pub expects: &'static str,
    pub default: DefaultValue,
    /// The setting may also be given as `<key>_file`.
    pub from_file: bool,
    /// The value is never printed.
    pub secret: bool,
}

/// What a setting is when nobody sets it.
#[derive(Debug, Clone, Copy)]
pub enum DefaultValue {
    /// Unset; only optional settings have this.
    Unset,
    /// The same text an operator could write.
    Text(&'static str),
    /// Follows from other settings or from the machine; `shown` is how the documentation puts it.
    Derived { shown: &'static str, make: fn(&Loader) -> Option<String> },
}

impl Key {
    pub(crate) fn new<T: Setting>(section: &str, name: &str, doc: &'static str, default: DefaultValue) -> Self {
        Self {
            path: join(section, name),
            doc: doc.trim(),
            expects: T::EXPECTS,
            default,
            from_file: T::FROM_FILE,
            secret: T::SECRET,
        }
    }
}

pub(crate) fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

/// A group of settings below one path.
pub(crate) trait Section: Sized {
    fn keys(section: &str, out: &mut Vec<Key>);
    /// Reads every key; a faulty one is noted in the loader and replaced by its default, so that
    /// the remaining faults are found as well. The result is only used when there is none.
    fn load(section: &str, loader: &mut Loader) -> Self;
}

/// Declares sections. A line is `name: Type = default;` where the default is a text, `unset`, or
/// `derived "how it is documented" function`. `with { name: Section }` nests sections.
macro_rules! settings {
    ($(
        $(#[doc = $section_doc:literal])+
        $section:ident {
            $( $(#[doc = $doc:literal])+ $field:ident: $ty:ty = $kind:tt $($shown:literal $make:path)?; )*
        }
        $( with { $( $(#[doc = $sub_doc:literal])+ $sub:ident: $sub_ty:ty, )+ } )?
    )*) => { $(
        $(#[doc = $section_doc])+
        #[derive(Debug, Clone)]
        pub struct $section {
            $( $(#[doc = $doc])+ pub $field: $ty, )*
            $( $( $(#[doc = $sub_doc])+ pub $sub: $sub_ty, )+ )?
        }

        impl $crate::table::Section for $section {
            fn keys(section: &str, out: &mut Vec<$crate::table::Key>) {
                $( out.push($crate::table::Key::new::<$ty>(
                    section,
                    stringify!($field),
                    concat!($($doc),+),
                    default_value!($kind $($shown $make)?),
                )); )*
                $( $( <$sub_ty as $crate::table::Section>::keys(&$crate::table::join(section, stringify!($sub)), out); )+ )?
            }

            fn load(section: &str, loader: &mut $crate::loader::Loader) -> Self {
                Self {
                    $( $field: loader.value(&$crate::table::join(section, stringify!($field))), )*
                    $( $( $sub: $crate::table::Section::load(&$crate::table::join(section, stringify!($sub)), loader), )+ )?
                }
            }
        }
    )* };
}

macro_rules! default_value {
    (unset) => {
        $crate::table::DefaultValue::Unset
    };
    (derived $shown:literal $make:path) => {
        $crate::table::DefaultValue::Derived { shown: $shown, make: $make }
    };
    ($text:literal) => {
        $crate::table::DefaultValue::Text($text)
    };
}
