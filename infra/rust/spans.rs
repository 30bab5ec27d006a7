//! The encoder and the span head of DistilBERT, BERT and RoBERTa, in Rust's standard library.
//!
//! `spans MODEL_FOLDER < ids` reads a window a line: its token ids, and its token types behind a `|` if
//! they are not all 0. It prints a JSON object a window: start and end logits of every token.

mod json;
mod layers;
mod safetensors;

use json::Json;
use layers::{sum, Layer, Linear, Norm, Table};
use safetensors::Tensors;
use std::io::{self, BufRead, Write};
use std::{env, fs, path::Path, process::ExitCode};

/// What went wrong is one line, for whoever runs the program.
type Outcome<T> = Result<T, String>;

/// Keys of the config and parts of a layer, as BERT and RoBERTa name them, and as DistilBERT does.
const IN_DISTILBERT: [(&str, &str); 14] = [
    ("hidden_size", "dim"),
    ("intermediate_size", "hidden_dim"),
    ("num_hidden_layers", "n_layers"),
    ("num_attention_heads", "n_heads"),
    ("hidden_act", "activation"),
    ("encoder.layer", "transformer.layer"),
    ("attention.self.query", "attention.q_lin"),
    ("attention.self.key", "attention.k_lin"),
    ("attention.self.value", "attention.v_lin"),
    ("attention.output.dense", "attention.out_lin"),
    ("attention.output.LayerNorm", "sa_layer_norm"),
    ("intermediate.dense", "ffn.lin1"),
    ("output.dense", "ffn.lin2"),
    ("output.LayerNorm", "output_layer_norm"),
];

/// The token ids and token types of one pass.
struct Window {
    ids: Vec<usize>,
    types: Option<Vec<usize>>,
}

impl Window {
    fn parse(line: &str) -> Outcome<Window> {
        let numbers = |text: &str| -> Outcome<Vec<usize>> {
            let parse = |word: &str| word.parse().map_err(|_| format!("{word:?} is not a whole number"));
            text.split_whitespace().map(parse).collect()
        };
        match line.split_once('|') {
            Some((ids, types)) => Ok(Window { ids: numbers(ids)?, types: Some(numbers(types)?) }),
            None => Ok(Window { ids: numbers(line)?, types: None }),
        }
    }
}

struct Model {
    words: Table,
    positions: Table,
    types: Option<Table>,
    /// RoBERTa counts positions from the one behind this id, and leaves padding out.
    padding: Option<usize>,
    norm: Norm,
    layers: Vec<Layer>,
    head: Linear,
}

impl Model {
    fn load(folder: &Path) -> Outcome<Model> {
        let path = folder.join("config.json");
        let text = fs::read_to_string(&path).map_err(|why| format!("{}: {why}", path.display()))?;
        let config = Json::parse(&text).map_err(|why| format!("{}: {why}", path.display()))?;
        let path = folder.join("model.safetensors");
        let tensors = Tensors::read(&path)?;
        Model::build(&config, &tensors).map_err(|why| format!("{}: {why}", folder.display()))
    }

    fn build(config: &Json, tensors: &Tensors) -> Outcome<Model> {
        let kind = config.get("model_type").and_then(Json::text).unwrap_or("none");
        if !["distilbert", "bert", "roberta"].contains(&kind) {
            return Err(format!("model_type is {kind:?}, not distilbert, bert or roberta"));
        }
        let name = |berts: &'static str| match IN_DISTILBERT.iter().find(|(bert, _)| *bert == berts) {
            Some((_, other)) if kind == "distilbert" => other,
            _ => berts,
        };
        let size = |key| {
            let size = config.get(name(key)).and_then(Json::size).filter(|&size| size > 0);
            size.ok_or_else(|| format!("config.json: {} is missing, or not a whole number above 0", name(key)))
        };
        for (key, known) in [("hidden_act", "gelu"), ("position_embedding_type", "absolute")] {
            match config.get(name(key)).map(|value| value.text().unwrap_or("no text")) {
                Some(other) if other != known => return Err(format!("{} is {other:?}, not {known}", name(key))),
                _ => (),
            }
        }
        if let Some(Json::Bool(true)) = config.get("is_decoder") {
            return Err("is_decoder is true, and this is for encoders".into());
        }
        let (hidden, inner, heads) = (size("hidden_size")?, size("intermediate_size")?, size("num_attention_heads")?);
        if hidden % heads != 0 {
            return Err(format!("{heads} heads cannot share a width of {hidden}"));
        }
        let epsilon = config.get("layer_norm_eps").and_then(Json::number).unwrap_or(1e-12) as f32;
        let part = |layer: usize, part| format!("{kind}.{}.{layer}.{}", name("encoder.layer"), name(part));
        let linear = |name: &str, output, input| Linear::load(tensors, name, output, input);
        let norm = |name: &str| Norm::load(tensors, name, hidden, epsilon);
        let layer = |layer: usize| {
            Ok(Layer {
                query: linear(&part(layer, "attention.self.query"), hidden, hidden)?,
                key: linear(&part(layer, "attention.self.key"), hidden, hidden)?,
                value: linear(&part(layer, "attention.self.value"), hidden, hidden)?,
                output: linear(&part(layer, "attention.output.dense"), hidden, hidden)?,
                attention_norm: norm(&part(layer, "attention.output.LayerNorm"))?,
                up: linear(&part(layer, "intermediate.dense"), inner, hidden)?,
                down: linear(&part(layer, "output.dense"), hidden, inner)?,
                norm: norm(&part(layer, "output.LayerNorm"))?,
                heads,
            })
        };
        let table = |name: &str, rows| {
            Table::load(tensors, &format!("{kind}.embeddings.{name}_embeddings.weight"), rows, hidden)
        };
        Ok(Model {
            head: linear("qa_outputs", 2, hidden).map_err(|why| format!("no span head: {why}"))?,
            words: table("word", size("vocab_size")?)?,
            positions: table("position", size("max_position_embeddings")?)?,
            types: match kind {
                "distilbert" => None,
                _ => Some(table("token_type", size("type_vocab_size")?)?),
            },
            padding: match kind {
                "roberta" => Some(config.get("pad_token_id").and_then(Json::size).unwrap_or(1)),
                _ => None,
            },
            norm: norm(&format!("{kind}.embeddings.LayerNorm"))?,
            layers: (0..size("num_hidden_layers")?).map(layer).collect::<Outcome<_>>()?,
        })
    }

    /// The logits of every token: [start, end], token by token.
    fn logits(&self, window: &Window) -> Outcome<Vec<f32>> {
        let mut hidden = self.norm.apply(self.embed(window)?);
        for layer in &self.layers {
            hidden = layer.apply(hidden);
        }
        Ok(self.head.apply(&hidden))
    }

    fn embed(&self, window: &Window) -> Outcome<Vec<f32>> {
        let ids = &window.ids;
        if ids.is_empty() {
            return Err("no token ids".into());
        }
        let embedded = self.words.take(ids, "token id")?;
        let positions = self.positions.take(&self.number(ids), "position")?;
        let embedded = sum(embedded, &positions);
        let zeros = vec![0; ids.len()];
        match (&self.types, &window.types) {
            (None, None) => Ok(embedded),
            (None, Some(_)) => Err("this model knows no token types".into()),
            (Some(table), types) => {
                let types = types.as_ref().unwrap_or(&zeros);
                if types.len() != ids.len() {
                    return Err(format!("{} token types for {} token ids", types.len(), ids.len()));
                }
                Ok(sum(embedded, &table.take(types, "token type")?))
            }
        }
    }

    /// The positions of tokens.
    fn number(&self, ids: &[usize]) -> Vec<usize> {
        let mut next = self.padding.map_or(0, |padding| padding + 1);
        let position = |&id: &usize| match self.padding {
            Some(padding) if padding == id => padding,
            _ => {
                next += 1;
                next - 1
            }
        };
        ids.iter().map(position).collect()
    }
}

fn run() -> Outcome<()> {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let model = match &arguments[..] {
        [folder] => Model::load(Path::new(folder))?,
        _ => return Err("usage: spans MODEL_FOLDER < ids".into()),
    };
    let mut output = io::stdout().lock();
    for (number, line) in io::stdin().lock().lines().enumerate() {
        let line = line.map_err(|why| why.to_string());
        let logits = line.and_then(|line| model.logits(&Window::parse(&line)?));
        let logits = logits.map_err(|why| format!("line {}: {why}", number + 1))?;
        if !logits.iter().all(|logit| logit.is_finite()) {
            return Err(format!("line {}: the logits are not finite", number + 1));
        }
        let side = |which: usize| -> Vec<f32> { logits.iter().skip(which).step_by(2).copied().collect() };
        let (start, end) = (side(0), side(1));
        writeln!(output, "{{\"start_logits\": {start:?}, \"end_logits\": {end:?}}}").map_err(|why| why.to_string())?;
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("spans: {why}");
            ExitCode::FAILURE
        }
    }
}
