import Basics

/// The "whitespace" cleaning that Wan's tokenizer applies to a prompt before it is cut into tokens.
package enum PromptCleaning {
  /// `prompt` as the reference hands it to the tokenizer: text repaired as ftfy 6.3.1 does with its default settings,
  /// HTML character references resolved twice, whitespace runs made one space, none at the ends.
  ///
  /// Source: `basic_clean` and `whitespace_clean` in `wan/modules/tokenizers.py`.
  package static func clean(_ prompt: String) -> String {
    var text = TextRepair.repair(prompt.scalarValues)
    text = HTMLEntities.unescape(HTMLEntities.unescape(text))
    return String(scalarValues: collapsingSpaces(text))
  }

  private static func collapsingSpaces(_ text: [UInt32]) -> [UInt32] {
    var result: [UInt32] = []
    result.reserveCapacity(text.count)
    var pendingSpace = false
    for scalar in text {
      if ScalarSet.pythonSpaces.contains(scalar) {
        pendingSpace = !result.isEmpty
      } else {
        if pendingSpace { result.append(0x20) }
        pendingSpace = false
        result.append(scalar)
      }
    }
    return result
  }
}
