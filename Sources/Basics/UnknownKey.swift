/// Says of a key that a file of settings may not have, which one was probably meant: "unknown key 'a.headdim'; did you mean
/// 'headDim'?".
///
/// - Parameters:
///   - path: the key with those above it, joined by dots.
///   - known: the keys that may stand there.
package func unknownKeyText(_ path: String, known: some Collection<String>) -> String {
  let key = path.split(separator: ".").last.map(String.init) ?? path
  let text = "unknown key '\(shortened(path))'"
  if let meant = nearestName(to: key, among: known) { return "\(text); did you mean '\(meant)'?" }
  let list = known.sorted().map { "'\($0)'" }.joined(separator: ", ")
  return list.isEmpty ? text : "\(text); known are \(list)"
}

/// `unknownKeyText` of the first key, in alphabetic order, that is none of the known ones; nil where all are known.
package func unknownKeyText(in keys: some Sequence<String>, known: some Collection<String>) -> String? {
  keys.sorted().first { !known.contains($0) }.map { unknownKeyText($0, known: known) }
}

/// The name that `name` is probably a slip of, or nil where none is near. Case and "_" or "-" between words do not count.
package func nearestName(to name: String, among names: some Collection<String>) -> String? {
  // Nothing so long is a slip of anything, and comparing it would take minutes.
  guard name.utf8.count <= 200 else { return nil }
  func plain(_ text: String) -> [Character] { text.lowercased().filter { $0 != "_" && $0 != "-" } }
  let wanted = plain(name)
  let nearest = names.sorted().map { (name: $0, distance: editDistance(wanted, plain($0))) }
    .min { $0.distance < $1.distance }
  guard let nearest, nearest.distance <= max(1, wanted.count / 3) else { return nil }
  return nearest.name
}

/// Letters to add, take away or change to make one of the other (Levenshtein).
private func editDistance(_ a: [Character], _ b: [Character]) -> Int {
  var row = Array(0...b.count)
  for (i, letter) in a.enumerated() {
    var diagonal = row[0]
    row[0] = i + 1
    for j in b.indices {
      let changed = diagonal + (letter == b[j] ? 0 : 1)
      diagonal = row[j + 1]
      row[j + 1] = min(changed, diagonal + 1, row[j] + 1)
    }
  }
  return row[b.count]
}
