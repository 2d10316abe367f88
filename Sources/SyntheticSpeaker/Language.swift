import Basics

/// A language that the speakers know: its voices and its sentences.
package enum Language: String, Codable, Sendable, CaseIterable {
  case english = "en"
  case german = "de"
  case french = "fr"
  case spanish = "es"
  case italian = "it"

  /// As captions say it.
  package var name: String {
    switch self {
    case .english: "English"
    case .german: "German"
    case .french: "French"
    case .spanish: "Spanish"
    case .italian: "Italian"
    }
  }

  /// espeak-ng's voices of it.
  var voices: [String] {
    switch self {
    case .english: ["en-us", "en-us", "en-gb-x-rp", "en-gb-scotland"]
    case .german: ["de"]
    case .french: ["fr", "fr-be", "fr-ch"]
    case .spanish: ["es", "es-419"]
    case .italian: ["it"]
    }
  }

  /// Sentences with places to fill: "{…}" names a list of `words`.
  var templates: [String] {
    switch self {
    case .english:
      [
        "Good {time}, my name is {name}.", "Could you please open the {thing}?",
        "I have been waiting for {number} minutes.",
        "{name} bought a {thing} at the market.", "What a beautiful {time} it is!", "We should meet in {place} again.",
        "My mother makes the best apple pie in {place}.", "Please remember to bring the {thing}.",
        "People often ask me why I moved to {place}.", "That is about {number} miles from here.",
        "Few of us have ever seen such a big {thing}.", "Thank you for watching, and see you this {time}.",
      ]
    case .german:
      [
        "Guten {time}, ich heiße {name}.", "Kannst du mir bitte {thing} geben?",
        "Ich warte schon seit {number} Minuten.",
        "{name} wohnt seit vielen Jahren in {place}.", "Heute ist ein wunderbarer {time}.",
        "Wir sollten uns bald in {place} treffen.", "Vergiss bitte nicht {thing} mitzubringen.",
        "Mein Bruder möchte Bäcker werden.", "Bis {place} sind es ungefähr {number} Kilometer.",
        "Das habe ich mir viel schöner vorgestellt.",
      ]
    case .french:
      [
        "Bonjour, je m'appelle {name}.", "Pouvez-vous me passer {thing}, s'il vous plaît ?",
        "J'attends depuis {number} minutes.", "{name} habite à {place} depuis longtemps.",
        "Quelle belle journée aujourd'hui !",
        "Nous pourrions nous revoir à {place}.", "N'oubliez pas {thing} demain {time}.",
        "Ma mère fait un très bon gâteau aux pommes.", "Il y a {number} kilomètres jusqu'à {place}.",
        "Je vous remercie beaucoup de votre visite.",
      ]
    case .spanish:
      [
        "Hola, me llamo {name}.", "¿Me puedes dar {thing}, por favor?", "Llevo {number} minutos esperando.",
        "{name} vive en {place} desde hace años.", "¡Qué bonito está el día!", "Podemos vernos en {place} otra vez.",
        "No olvides traer {thing} esta {time}.", "Mi abuela prepara un buen pan.",
        "Faltan {number} kilómetros para llegar a {place}.", "Muchas gracias por haber venido.",
      ]
    case .italian:
      [
        "Ciao, mi chiamo {name}.", "Mi puoi dare {thing}, per favore?", "Aspetto da {number} minuti.",
        "{name} abita a {place} da molti anni.", "Che bella giornata oggi!", "Possiamo rivederci a {place}.",
        "Non dimenticare {thing} questa {time}.", "Mia madre prepara una buona zuppa.",
        "Mancano {number} chilometri per arrivare a {place}.", "Grazie mille per la vostra visita.",
      ]
    }
  }

  var words: [String: [String]] {
    let names = [
      "Emma", "Paul", "Maria", "Robert", "Sofia", "Viktor", "Bob", "Pamela", "Fabio", "Monika", "Oliver", "Tom",
    ]
    return switch self {
    case .english:
      [
        "name": names, "place": ["Boston", "Paris", "the old town", "my village", "Manchester", "the park"],
        "time": ["morning", "evening", "afternoon"], "number": ["five", "twelve", "forty", "ninety", "sixteen"],
        "thing": ["window", "book", "raincoat", "map", "guitar", "blue box", "sofa", "lamp"],
      ]
    case .german:
      [
        "name": names, "place": ["Berlin", "München", "Bern", "Wien", "Oberammergau"],
        "time": ["Morgen", "Abend", "Tag"],
        "number": ["fünf", "zwölf", "vierzig", "achtundsechzig"],
        "thing": ["das Buch", "die Lampe", "den Schlüssel", "das Brot", "die blaue Tasse"],
      ]
    case .french:
      [
        "name": names, "place": ["Paris", "Bordeaux", "Genève", "Marseille"], "time": ["matin", "soir"],
        "number": ["cinq", "douze", "quarante", "soixante-dix"],
        "thing": ["le livre", "la lampe", "le parapluie", "une pomme", "le beau vélo bleu"],
      ]
    case .spanish:
      [
        "name": names, "place": ["Madrid", "Bogotá", "el pueblo", "Valencia"], "time": ["tarde", "mañana", "noche"],
        "number": ["cinco", "doce", "cuarenta", "ochenta"],
        "thing": ["el libro", "la lámpara", "el mapa", "una manzana", "el paraguas azul"],
      ]
    case .italian:
      [
        "name": names, "place": ["Roma", "Bologna", "Napoli", "Palermo"], "time": ["sera", "mattina", "notte"],
        "number": ["cinque", "dodici", "quaranta", "ottanta"],
        "thing": ["il libro", "la lampada", "la mappa", "una mela", "l'ombrello blu"],
      ]
    }
  }

  /// Sentences of at least so many characters together, each template at most once before all have been used.
  func sentences(atLeast length: Int, using random: inout SeededRandom) -> [String] {
    var left: [String] = []
    var sentences: [String] = []
    var count = 0
    while count < length || sentences.isEmpty {
      if left.isEmpty { left = templates + phrases }
      var sentence = left.remove(at: random.integer(0...(left.count - 1)))
      // By name, as a dictionary has no order of its own.
      for (place, choices) in words.sorted(by: { $0.key < $1.key }) where sentence.contains("{\(place)}") {
        sentence = sentence.replacing("{\(place)}", with: random.pick(choices))
      }
      sentences.append(sentence)
      count += sentence.count + 1
    }
    return sentences
  }
}
