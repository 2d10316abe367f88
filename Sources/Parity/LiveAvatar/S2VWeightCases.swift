import Basics
import Models
import NN
import Torch

/// Goldens of what is done to weights: the adapter's merge, linear layers in 8 bits.
enum S2VWeightCases {
  static func adapter(_ golden: ParityCase, _ recorder: ParityRecorder) throws {
    let (outputs, tolerance) = (try golden.outputs(), try golden.tolerance())
    let stated = golden.json["lora"]
    let base = try golden.tensors("weights.safetensors")
    let adapter = try golden.tensors(try stated["file"].string())
    let alpha = try stated["alpha"].double()
    let merged = try LoRAAdapter.merge(adapter, into: base, alpha: alpha)
    let halved = try LoRAAdapter.merge(
      adapter.mapValues { $0.to(.bfloat16) }, into: base.mapValues { $0.to(.bfloat16) }, alpha: alpha)
    // The merged weights are those of a model of the stated sizes.
    _ = try LiveAvatarCases.model(merged, golden.config, golden)
    let changed = merged.keys.filter { name in base[name].map { merged[name]?.equals($0) == false } ?? true }
    recorder.expect("layers that change", Set(changed) == Set(outputs.keys.filter { !$0.hasPrefix("bf16.") }))
    let step = Tolerance(rtol: 1.0 / 256, atol: 0)
    for (name, expected) in outputs.sorted(by: { $0.key < $1.key }) {
      let isHalf = name.hasPrefix("bf16.")
      guard let value = isHalf ? halved[String(name.dropFirst(5))] : merged[name] else {
        throw LiveTalkError("nothing computes the output '\(name)'")
      }
      try recorder.compare(name, value, expected, isHalf ? step : tolerance)
    }
  }

  static func float8(_ golden: ParityCase, _ recorder: ParityRecorder) throws {
    let (inputs, outputs) = (try golden.inputs(), try golden.outputs())
    let weights = try golden.tensors("weights.safetensors")
    let names = (
      replaced: try golden.json["replaced_in_tiny_model"].list.map { try $0.string() },
      kept: try golden.json["kept_in_tiny_model"].list.map { try $0.string() }
    )
    let layers = WanS2VTransformer.float8Layers
    recorder.expect("replaced_in_tiny_model", names.replaced.allSatisfy(layers.contains))
    recorder.expect("kept_in_tiny_model", !names.kept.contains(where: layers.contains))
    let scale = Tolerance(rtol: try golden.json["tolerance"]["scale_relative"].double(), atol: 0)
    // One step of bf16, and a thousandth.
    let step = Tolerance(rtol: 1.0 / 256, atol: 1e-3)
    func bytes(_ tensor: Float8Tensor) -> Tensor { Tensor(tensor.values.bytes(), tensor.values.shape) }
    let weight = Float8Tensor(quantizing: try LiveAvatarCases.input(weights, "weight").to(.bfloat16))
    let bias = try LiveAvatarCases.input(weights, "bias")
    for (name, expected) in outputs.sorted(by: { $0.key < $1.key }) {
      let parts = name.split(separator: ".").map(String.init)
      switch parts.count == 2 ? parts[1] : name {
      case "weight_fp8": try recorder.compare(name, bytes(weight), expected, .exact)
      case "weight_scale": try recorder.compare(name, weight.factor, expected, scale)
      case "wide_weight_fp8", "wide_weight_scale":
        let wide = Float8Tensor(quantizing: try LiveAvatarCases.input(inputs, "wide_weight"))
        try recorder.compare(
          name, name.hasSuffix("fp8") ? bytes(wide) : wide.factor, expected, name.hasSuffix("fp8") ? .exact : scale)
      case "input_fp8", "input_scale":
        let given = try LiveAvatarCases.input(inputs, parts[0])
        let input = Float8Tensor(quantizing: given.reshape(-1, given.size(-1)))
        try recorder.compare(
          name, parts[1] == "input_fp8" ? bytes(input) : input.factor, expected,
          parts[1] == "input_fp8" ? .exact : scale)
      case "output":
        try recorder.compare(name, weight.linear(try LiveAvatarCases.input(inputs, parts[0]), bias), expected, step)
      case "output_before_rounding":
        let given = try LiveAvatarCases.input(inputs, parts[0])
        let result = weight.linear(given, bias).reshape(-1, expected.size(-1))
        try recorder.compare(name, result, expected, step)
      case "input_fp8_unrounded":
        // What a fused kernel gives, which does not round the product with the scale: that of the same values in fp32.
        let given = try LiveAvatarCases.input(inputs, parts[0]).to(.float32)
        try recorder.compare(name, bytes(Float8Tensor(quantizing: given.reshape(-1, given.size(-1)))), expected, .exact)
      default: throw LiveTalkError("nothing computes the output '\(name)'")
      }
    }
  }
}
