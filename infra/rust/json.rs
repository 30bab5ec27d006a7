//! JSON, as config.json and the headers of SafeTensors files have it.

use crate::Outcome;
use std::collections::HashMap;

pub enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(HashMap<String, Json>),
}

impl Json {
    pub fn parse(text: &str) -> Outcome<Json> {
        let mut reader = Reader { rest: text };
        let value = reader.whole();
        let at = text.len() - reader.rest.len();
        value.map_err(|why| format!("broken JSON before byte {at}: {why}"))
    }

    /// The value of a key; null is like no value.
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.get(key).filter(|value| !matches!(value, Json::Null)),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn number(&self) -> Option<f64> {
        match self {
            Json::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A whole number that is not negative.
    pub fn size(&self) -> Option<usize> {
        let number = self.number()?;
        (number >= 0.0 && number < 2f64.powi(53) && number.fract() == 0.0).then_some(number as usize)
    }

    pub fn sizes(&self) -> Option<Vec<usize>> {
        match self {
            Json::List(items) => items.iter().map(Json::size).collect(),
            _ => None,
        }
    }
}

/// Reads JSON. What nests deeper than any model's file is refused before it exhausts the stack.
struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn whole(&mut self) -> Outcome<Json> {
        let value = self.value(0)?;
        self.skip_spaces();
        self.rest.is_empty().then_some(value).ok_or_else(|| "something follows the value".into())
    }

    fn value(&mut self, depth: usize) -> Outcome<Json> {
        if depth > 100 {
            return Err("nested too deeply".into());
        }
        if self.take("{") {
            return self.object(depth);
        }
        if self.take("[") {
            return self.list(depth);
        }
        if self.take("\"") {
            return self.string().map(Json::Text);
        }
        let words = [("null", Json::Null), ("true", Json::Bool(true)), ("false", Json::Bool(false))];
        for (word, value) in words {
            if self.take(word) {
                return Ok(value);
            }
        }
        let is_other = |c: char| !c.is_ascii_digit() && !"+-.eE".contains(c);
        let (number, rest) = self.rest.split_at(self.rest.find(is_other).unwrap_or(self.rest.len()));
        let value = number.parse().map_err(|_| "a value is missing")?;
        self.rest = rest;
        Ok(Json::Number(value))
    }

    fn object(&mut self, depth: usize) -> Outcome<Json> {
        let mut members = HashMap::new();
        while !self.take("}") {
            if !members.is_empty() {
                self.expect(",")?;
            }
            self.expect("\"")?;
            let key = self.string()?;
            self.expect(":")?;
            members.insert(key, self.value(depth + 1)?);
        }
        Ok(Json::Object(members))
    }

    fn list(&mut self, depth: usize) -> Outcome<Json> {
        let mut items = Vec::new();
        while !self.take("]") {
            if !items.is_empty() {
                self.expect(",")?;
            }
            items.push(self.value(depth + 1)?);
        }
        Ok(Json::List(items))
    }

    /// The rest of a string whose opening quote is read.
    fn string(&mut self) -> Outcome<String> {
        let mut text = String::new();
        loop {
            match self.next()? {
                '"' => return Ok(text),
                '\\' => text += &self.escaped()?,
                c if c < ' ' => return Err("a control character within a string".into()),
                c => text.push(c),
            }
        }
    }

    fn escaped(&mut self) -> Outcome<String> {
        Ok(match self.next()? {
            c @ ('"' | '\\' | '/') => c.to_string(),
            'b' => "\u{8}".into(),
            'f' => "\u{c}".into(),
            'n' => "\n".into(),
            'r' => "\r".into(),
            't' => "\t".into(),
            'u' => {
                let mut units = vec![self.utf16_unit()?];
                // Only in two such units fits a character beyond U+FFFF.
                if (0xd800..0xdc00).contains(&units[0]) && self.next()? == '\\' && self.next()? == 'u' {
                    units.push(self.utf16_unit()?);
                }
                String::from_utf16(&units).map_err(|_| "half a character behind \\u")?
            }
            _ => return Err("no such escape behind \\".into()),
        })
    }

    fn utf16_unit(&mut self) -> Outcome<u16> {
        (0..4).try_fold(0, |unit, _| {
            let digit = self.next()?.to_digit(16).ok_or("\\u wants four hexadecimal digits")?;
            Ok(unit << 4 | digit as u16)
        })
    }

    fn next(&mut self) -> Outcome<char> {
        let mut chars = self.rest.chars();
        let next = chars.next().ok_or("it ends within a string")?;
        self.rest = chars.as_str();
        Ok(next)
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Whether the token is next; if so, it is read.
    fn take(&mut self, token: &str) -> bool {
        self.skip_spaces();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, token: &str) -> Outcome<()> {
        self.take(token).then_some(()).ok_or_else(|| format!("{token} is missing"))
    }
}
