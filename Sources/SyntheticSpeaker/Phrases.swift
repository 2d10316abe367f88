extension Language {
  /// Whole sentences of everyday talk. English ones, which flite speaks too, are written in ASCII and without digits.
  var phrases: [String] {
    switch self {
    case .english: Self.englishPhrases
    case .german: Self.germanPhrases
    case .french: Self.frenchPhrases
    case .spanish: Self.spanishPhrases
    case .italian: Self.italianPhrases
    }
  }

  private static func lines(_ text: String) -> [String] { text.split(separator: "\n").map(String.init) }

  private static let englishPhrases = lines(
    """
    Really?
    No, not yet.
    Good job, everybody!
    I doubt it.
    Why not?
    Hold on a second.
    That makes sense.
    Oh boy, what a mess.
    Enjoy your lunch.
    See you soon.
    I think so, yes.
    Just a moment, please.
    Nothing ever happens around here.
    How was your weekend?
    The train leaves at half past eight.
    Did you hear the news this morning?
    We ran out of milk again.
    I usually have toast and jam for breakfast.
    Their garage is full of broken chairs.
    She wears a yellow jacket on rainy days.
    The children are playing with a toy boat.
    My brother joined the army last year.
    You should measure the shelf before you buy it.
    It was a pleasure to meet both of you.
    He usually watches television after dinner.
    What would you like to drink with that?
    The judge asked a few awkward questions.
    Turn left at the church and go straight on.
    This soup needs more salt and a bit of pepper.
    Our plane was delayed by thick fog.
    I can't find my keys anywhere.
    Could you speak a little louder, please?
    The weather is supposed to be lovely on Thursday.
    A huge dog chased the mailman down the road.
    Put the flour and the sugar in a large bowl.
    Nobody knows where the money went.
    I would rather stay at home tonight.
    They have just painted the kitchen blue.
    Whose umbrella is this?
    Let us have a look at the second picture.
    The museum is closed on Mondays.
    Her voice sounded strange on the phone.
    We finally found a place to park.
    There is a small bookshop around the corner.
    He broke his thumb while playing volleyball.
    Thanks a lot for your help with the garden.
    I have never been so embarrassed in my life.
    The new teacher is younger than I thought.
    Do they serve anything without meat?
    My father fixes old watches in his spare time.
    The river is too cold for swimming.
    You are right, and I was wrong about it.
    She bought three pounds of cherries.
    We could go by bike if it stays dry.
    Everyone laughed at the joke except George.
    Please wash your hands before you touch the baby.
    The power went off in the middle of the show.
    It takes about an hour to get to the airport.
    Why don't we ask somebody who lives here?
    The coffee in this office is awful.
    I would choose the red one with the thin stripes.
    Both of my sisters live abroad.
    He has been working as a nurse since the spring.
    A good night's sleep would do you no harm.
    The boys threw stones at an empty bottle.
    Which of these shoes are more comfortable?
    She is looking forward to her birthday party.
    The doctor told me to drink more water.
    We are going to visit the zoo with our cousins.
    That was the worst movie I have ever seen.
    Don't forget to feed the fish while I am away.
    The vegetables from this farm are always fresh.
    He pushed the door, but it would not move.
    Our neighbors make a lot of noise at night.
    I wish I could play the piano like you.
    The bus stops in front of the old theater.
    It's hard to imagine a world without music.
    She gave me a thoughtful answer.
    You can leave your coat over there.
    The engine makes a weird noise when it is cold.
    A few clouds are coming up from the south.
    Tell me when you are ready to go.
    He said he would be back before noon.
    The prices have gone up again this month.
    I am allergic to peanuts, so I always ask first.
    They built this bridge almost a century ago.
    We have plenty of time, so there is no need to rush.
    The cat jumped from the roof and walked away.
    Her decision came as a complete surprise.
    Have you ever tried to cook with charcoal?
    Every other house on our street is for sale.
    My aunt keeps bees and sells the honey.
    I forgot to charge my phone last night.
    The path goes through a deep, dark wood.
    He shook my hand and wished me good luck.
    Sugar and butter make everything taste better.
    The choir will sing in the village hall.
    Nothing beats a warm bath after a long hike.
    You have to push the yellow button twice.
    They were married in a tiny chapel by the sea.
    She teaches physics at the university.
    Look at those mice under the table!
    The cashier gave me the wrong change.
    We saw dolphins and a whale from the ship.
    Bob makes beautiful bowls out of wood.
    Is this seat taken, or may I sit here?
    The vision of the project is still quite vague.
    I usually go for a walk when I need to think.
    The garbage truck comes on Wednesday.
    Watch out, the stairs are wet and slippery.
    Maybe we should buy a bigger van.
    His shirt was covered with paint.
    The nurse put a bandage on my knee.
    I hope that you feel better soon.
    Most of the apples fell off the tree.
    Our team lost, but it was a fair game.
    She whispered something into his ear.
    We need a new plan, and we need it fast.
    The lawyer read the contract very carefully.
    My favorite subject at school was geography.
    The knife is sharp, so be careful with it.
    He earns a living by driving a taxi.
    What time does the pharmacy open?
    It would be a shame to throw this food away.
    They argued about politics all evening.
    The baby fell asleep on the couch.
    I heard a loud bang from upstairs.
    You look much younger with short hair.
    Pick up a newspaper on your way home.
    The village is famous for its cheese.
    Joyce enjoys the noise of a busy city.
    How many people are you expecting?
    The thief escaped through the bathroom window.
    We took turns pushing the heavy wagon.
    I owe you an apology for what I said.
    The moon was bright enough to read by.
    He put the fork and the spoon beside the plate.
    Actually, that is not what I meant.
    Five of the five hundred people voted for both.
    She has a good memory for faces.
    The show begins at seven, doesn't it?
    Smoking is not allowed in this building.
    I would love to, but I have too much work.
    My grandfather grew up on a small island.
    Give me the shovel and hold the bucket.
    Without her glasses she can hardly see a thing.
    Are you sure that the oven is off?
    A bird built its nest above our front door.
    The bakery on the corner smells wonderful.
    We moved here when I was about four years old.
    """)

  private static let germanPhrases = lines(
    """
    Wirklich?
    Das glaube ich nicht.
    Einen Moment, bitte.
    Schönes Wochenende und viele Grüße!
    Der Zug nach Köln fährt um halb acht ab.
    Hast du heute schon gefrühstückt?
    Meine Schwester spielt seit Jahren Geige.
    Im Kühlschrank ist noch etwas Käse.
    Die Kinder bauen am Strand eine große Burg.
    Könnten Sie etwas lauter sprechen?
    Wir haben uns lange nicht mehr gesehen.
    Am Donnerstag soll es endlich regnen.
    Er hat sich beim Skifahren das Bein gebrochen.
    Wo ist denn hier die nächste Apotheke?
    Nachts sind alle Katzen grau.
    Ich hätte gern zwei Brötchen und einen Kaffee.
    Der Hund läuft jeden Tag über die Wiese.
    Das Museum ist montags geschlossen.
    Unsere Nachbarn machen oft bis spät Musik.
    Pass auf, die Straße ist ziemlich glatt!
    Mein Vater repariert alte Uhren.
    Das Fenster lässt sich nicht öffnen.
    Sie möchte später Ärztin werden.
    Jeder muss einmal klein anfangen.
    Vor dem Rathaus steht ein hoher Baum.
    Übung macht den Meister.
    Könnt ihr mir beim Umzug helfen?
    Die Suppe braucht noch ein wenig Pfeffer.
    Ich freue mich schon auf den Urlaub.
    Euer neues Auto gefällt mir wirklich gut.
    """)

  private static let frenchPhrases = lines(
    """
    Vraiment ?
    Je ne crois pas.
    Un instant, s'il vous plaît.
    Bon week-end et à bientôt !
    Le train part à huit heures et demie.
    As-tu déjà pris ton petit déjeuner ?
    Ma sœur joue du violon depuis longtemps.
    Il reste un peu de fromage dans le frigo.
    Les enfants construisent un château de sable.
    Pourriez-vous parler un peu plus fort ?
    Il va sûrement pleuvoir jeudi.
    Où est la pharmacie la plus proche ?
    Je voudrais deux croissants et un café.
    Le chien court chaque jour dans le champ.
    Le musée est fermé le lundi.
    Nos voisins font beaucoup de bruit la nuit.
    Attention, la route est très glissante !
    Mon père répare de vieilles montres.
    La fenêtre ne s'ouvre plus.
    Elle aimerait devenir médecin.
    Un bon vin blanc va bien avec le poisson.
    Devant la mairie il y a un grand arbre.
    Pouvez-vous m'aider à déménager ?
    Il manque du poivre dans cette soupe.
    Nous partons en vacances à la montagne.
    Votre nouvelle voiture me plaît beaucoup.
    J'ai oublié mon parapluie dans le bus.
    Quelqu'un a frappé à la porte.
    Le jardin est plein de fleurs jaunes.
    Huit personnes attendent depuis ce matin.
    """)

  private static let spanishPhrases = lines(
    """
    ¿De verdad?
    No lo creo.
    Un momento, por favor.
    ¡Buen viaje y hasta pronto!
    El tren sale a las ocho y media.
    ¿Ya has desayunado hoy?
    Mi hermana toca el violín desde pequeña.
    Queda un poco de queso en la nevera.
    Los niños juegan con un barco de madera.
    ¿Puede hablar un poco más alto?
    Parece que el jueves va a llover.
    ¿Dónde está la farmacia más cercana?
    Quisiera dos bocadillos y un café.
    El perro corre todos los días por el campo.
    El museo cierra los lunes.
    Nuestros vecinos hacen mucho ruido por la noche.
    ¡Cuidado, el suelo está mojado!
    Mi padre arregla relojes viejos.
    La ventana no se puede abrir.
    Ella quiere ser médica algún día.
    Delante de la iglesia hay un árbol enorme.
    ¿Me ayudas con la mudanza?
    A esta sopa le falta un poco de sal.
    Nos vamos de vacaciones a la montaña.
    Me gusta mucho vuestro coche nuevo.
    Olvidé el paraguas en el autobús.
    Alguien ha llamado a la puerta.
    El jardín está lleno de flores amarillas.
    Ayer cené con mis primos en la playa.
    Poco a poco se llega lejos.
    """)

  private static let italianPhrases = lines(
    """
    Davvero?
    Non credo proprio.
    Un attimo, per favore.
    Buon viaggio e a presto!
    Il treno parte alle otto e mezza.
    Hai già fatto colazione?
    Mia sorella suona il violino da molti anni.
    C'è ancora un po' di formaggio nel frigorifero.
    I bambini giocano con una barca di legno.
    Può parlare un po' più forte?
    Pare che giovedì pioverà.
    Dov'è la farmacia più vicina?
    Vorrei due panini e un caffè.
    Il cane corre ogni giorno nel prato.
    Il museo è chiuso di lunedì.
    I nostri vicini fanno molto rumore di notte.
    Attento, la strada è scivolosa!
    Mio padre ripara vecchi orologi.
    La finestra non si apre più.
    Lei vuole diventare dottoressa.
    Davanti alla chiesa c'è un albero enorme.
    Mi aiuti con il trasloco?
    In questa zuppa manca un pizzico di sale.
    Andiamo in vacanza in montagna.
    La vostra nuova macchina mi piace molto.
    Ho dimenticato l'ombrello sull'autobus.
    Qualcuno ha bussato alla porta.
    Il giardino è pieno di fiori gialli.
    Ieri ho cenato con gli zii al mare.
    Chi va piano va sano e va lontano.
    """)
}
