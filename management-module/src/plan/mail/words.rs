//! What mails say, in four languages.
//!
//! **Invariant:** a text has all languages, and each has the same places to fill in.

use crate::language::texts;

texts! { pub(in crate::plan),
    LANGUAGE = "en" | "de" | "fr" | "it";
    FOOT =
        "Sent by the management module of the backup. Nobody reads answers to this mail."
        | "Gesendet vom Management-Modul der Datensicherung. Antworten auf diese E-Mail liest niemand."
        | "Envoyé par le module de gestion de la sauvegarde. Personne ne lit les réponses à ce message."
        | "Inviato dal modulo di gestione del backup. Nessuno legge le risposte a questo messaggio.";

    FAILED_SUBJECT = "Backup failed: {} ({})" | "Datensicherung fehlgeschlagen: {} ({})" | "Échec de la sauvegarde : {} ({})" | "Backup non riuscito: {} ({})";
    PARTIAL_SUBJECT = "Backup incomplete: {} ({})" | "Datensicherung unvollständig: {} ({})" | "Sauvegarde incomplète : {} ({})" | "Backup incompleto: {} ({})";
    MISSED_SUBJECT = "Backup missed: {} ({})" | "Datensicherung ausgefallen: {} ({})" | "Sauvegarde manquée : {} ({})" | "Backup mancato: {} ({})";
    DONE_SUBJECT = "Backup done: {} ({})" | "Datensicherung erledigt: {} ({})" | "Sauvegarde effectuée : {} ({})" | "Backup eseguito: {} ({})";

    WHAT_HAPPENED = "What happened" | "Was geschehen ist" | "Ce qui s'est passé" | "Che cosa è successo";
    FAILED =
        "The backup that was planned for {} failed: there is no archive of it."
        | "Die für {} geplante Datensicherung ist fehlgeschlagen: Es gibt kein Archiv davon."
        | "La sauvegarde prévue pour {} a échoué : il n'en existe aucune archive."
        | "Il backup previsto per {} non è riuscito: non ne esiste alcun archivio.";
    PARTIAL =
        "The backup that was planned for {} made an archive, but something is missing: in it, or a copy of it."
        | "Die für {} geplante Datensicherung hat ein Archiv erzeugt, aber es fehlt etwas: darin oder eine Kopie davon."
        | "La sauvegarde prévue pour {} a produit une archive, mais il manque quelque chose : dans l'archive, ou une copie."
        | "Il backup previsto per {} ha prodotto un archivio, ma manca qualcosa: al suo interno o una sua copia.";
    MISSED =
        "The backup that was planned for {} did not run: nothing could run at that time."
        | "Die für {} geplante Datensicherung lief nicht: Zu dieser Zeit konnte nichts laufen."
        | "La sauvegarde prévue pour {} n'a pas eu lieu : rien ne pouvait s'exécuter à ce moment."
        | "Il backup previsto per {} non è stato eseguito: in quel momento nulla poteva essere eseguito.";
    DONE =
        "The backup that was planned for {} is complete, and everywhere where it should be."
        | "Die für {} geplante Datensicherung ist vollständig und überall, wo sie sein soll."
        | "La sauvegarde prévue pour {} est complète et présente partout où elle doit l'être."
        | "Il backup previsto per {} è completo e presente ovunque debba essere.";
    REASON = "Reason" | "Grund" | "Raison" | "Motivo";
    ARCHIVE = "Archive" | "Archiv" | "Archive" | "Archivio";
    CENTRAL = "Central" | "Anlage" | "Central" | "Centrale";
    ENDED = "Ended" | "Beendet" | "Terminée" | "Terminato";
    LEFT_OUT = "Missing in the archive" | "Im Archiv fehlen" | "Manquant dans l'archive" | "Mancanti nell'archivio";

    SINCE_WHEN = "Since when" | "Seit wann" | "Depuis quand" | "Da quando";
    LAST_GOOD = "Last complete backup" | "Letzte vollständige Datensicherung" | "Dernière sauvegarde complète" | "Ultimo backup completo";
    NEVER = "there has not been one yet" | "es gab noch keine" | "il n'y en a pas encore eu" | "non ce n'è ancora stato uno";
    IN_A_ROW = "Runs with errors in a row" | "Läufe mit Fehlern in Folge" | "Exécutions en erreur consécutives" | "Esecuzioni con errori consecutive";
    FIRST_BAD = "The first of them" | "Der erste davon" | "La première" | "La prima";

    DESTINATIONS = "Destinations" | "Ziele" | "Destinations" | "Destinazioni";
    COPY_DONE = "copied and read back, {}" | "kopiert und zurückgelesen, {}" | "copiée et relue, {}" | "copiato e riletto, {}";
    COPY_FAILED = "not there: {}" | "nicht vorhanden: {}" | "absente : {}" | "assente: {}";
    COPY_SKIPPED = "not tried: there was no archive" | "nicht versucht: Es gab kein Archiv" | "pas essayée : il n'y avait pas d'archive" | "non tentato: non c'era alcun archivio";
    COPY_OPEN = "not finished" | "nicht beendet" | "pas terminée" | "non terminato";
    NO_DESTINATION = "none: the archive lies on the satellite only" | "keine: Das Archiv liegt nur auf dem Satelliten" | "aucune : l'archive se trouve uniquement sur le satellite" | "nessuna: l'archivio si trova solo sul satellite";

    WHAT_TO_DO = "What to do" | "Was zu tun ist" | "Que faire" | "Che cosa fare";
    DO_REASON =
        "Remove the reason that is named above."
        | "Beheben Sie den oben genannten Grund."
        | "Éliminez la raison indiquée ci-dessus."
        | "Eliminare il motivo indicato sopra.";
    DO_DESTINATION =
        "See that the destination {} is switched on, can be reached and has space left."
        | "Sorgen Sie dafür, dass das Ziel {} eingeschaltet und erreichbar ist und noch Platz hat."
        | "Veillez à ce que la destination {} soit allumée, joignable et qu'il y reste de la place."
        | "Assicurarsi che la destinazione {} sia accesa, raggiungibile e abbia ancora spazio.";
    DO_AGAIN =
        "Then back up again: “Back up now” on the web page of {}."
        | "Sichern Sie danach erneut: «Jetzt sichern» auf der Webseite von {}."
        | "Lancez ensuite une nouvelle sauvegarde : « Sauvegarder maintenant » sur la page web de {}."
        | "Eseguire quindi un nuovo backup: «Esegui il backup ora» sulla pagina web di {}.";
    DO_ANEW =
        "Then make the backup again on the web page: it was made once only and is not kept there."
        | "Legen Sie die Datensicherung danach auf der Webseite neu an: Sie war nur für einmal und ist dort nicht gespeichert."
        | "Recréez ensuite la sauvegarde sur la page web : elle était unique et n'y est pas enregistrée."
        | "Creare quindi di nuovo il backup sulla pagina web: era per una volta sola e non vi è salvato.";

    QUOTA_SUBJECT = "Backup of {}: little space left" | "Datensicherung von {}: wenig Platz" | "Sauvegarde de {} : peu d'espace libre" | "Backup di {}: poco spazio libero";
    QUOTA =
        "The archives of this account need more space than they should."
        | "Die Archive dieses Kontos brauchen mehr Platz, als sie sollten."
        | "Les archives de ce compte occupent plus d'espace que prévu."
        | "Gli archivi di questo account occupano più spazio del dovuto.";
    SCHEDULE_SUBJECT = "Backup of {}: planned times missed" | "Datensicherung von {}: geplante Zeiten verpasst" | "Sauvegarde de {} : heures prévues manquées" | "Backup di {}: orari previsti mancati";
    SCHEDULE =
        "Backups of this account did not run at their planned time."
        | "Datensicherungen dieses Kontos liefen nicht zu ihrer geplanten Zeit."
        | "Des sauvegardes de ce compte n'ont pas eu lieu à l'heure prévue."
        | "Alcuni backup di questo account non sono stati eseguiti all'orario previsto.";
    UNSUCCESSFUL_SUBJECT = "Backup of {}: errors" | "Datensicherung von {}: Fehler" | "Sauvegarde de {} : erreurs" | "Backup di {}: errori";
    UNSUCCESSFUL =
        "Backups of this account ran and ended with errors."
        | "Datensicherungen dieses Kontos liefen und endeten mit Fehlern."
        | "Des sauvegardes de ce compte ont eu lieu et se sont terminées par des erreurs."
        | "Alcuni backup di questo account sono stati eseguiti e sono terminati con errori.";
    UPGRADE_SUBJECT = "Backup of {}: a program is too old" | "Datensicherung von {}: ein Programm ist zu alt" | "Sauvegarde de {} : un programme est trop ancien" | "Backup di {}: un programma è troppo vecchio";
    UPGRADE =
        "A program that makes the backups of this account is older than it should be."
        | "Ein Programm, das dieses Konto sichert, ist älter, als es sein sollte."
        | "Un programme qui sauvegarde ce compte est plus ancien qu'il ne devrait."
        | "Un programma che esegue i backup di questo account è più vecchio del dovuto.";
    NO_BACKUP_SUBJECT = "Backup of {}: never made" | "Datensicherung von {}: noch nie erfolgt" | "Sauvegarde de {} : jamais effectuée" | "Backup di {}: mai eseguito";
    NO_BACKUP =
        "This account exists, and nothing was ever backed up for it."
        | "Dieses Konto besteht, und es wurde noch nie etwas dafür gesichert."
        | "Ce compte existe, et rien n'a jamais été sauvegardé pour lui."
        | "Questo account esiste e per esso non è mai stato eseguito alcun backup.";
    OVER_SUBJECT = "Over: {}" | "Vorbei: {}" | "Terminé : {}" | "Risolto: {}";
    OVER =
        "What you were warned of is over. This is how it stood last; nothing is to be done."
        | "Wovor Sie gewarnt wurden, ist vorbei. So stand es zuletzt; es ist nichts zu tun."
        | "Ce dont vous aviez été averti est terminé. Voici le dernier état ; il n'y a rien à faire."
        | "Ciò di cui eravate stati avvisati è risolto. Questo era l'ultimo stato; non c'è nulla da fare.";
    ACCOUNT = "Account" | "Konto" | "Compte" | "Account";
    TENANT = "Tenant" | "Mandant" | "Locataire" | "Tenant";
    STANDS_SINCE = "Since" | "Seit" | "Depuis" | "Da";
    ROW = "{}: {}" | "{}: {}" | "{} : {}" | "{}: {}";
    SPACE = "Space" | "Platz" | "Espace" | "Spazio";
    USED_OF = "{} of {} are used: {} per cent" | "{} von {} sind belegt: {} Prozent" | "{} sur {} sont utilisés : {} pour cent" | "{} di {} sono occupati: {} per cento";
    MISSED_TIMES = "missed in a row: {}" | "in Folge verpasst: {}" | "manquées consécutives : {}" | "mancati consecutivi: {}";
    BAD_RUNS = "runs with errors in a row: {}" | "Läufe mit Fehlern in Folge: {}" | "exécutions en erreur consécutives : {}" | "esecuzioni con errori consecutive: {}";
    VERSION_OF = "version {}, at least {} is needed" | "Version {}, nötig ist mindestens {}" | "version {}, il faut au moins {}" | "versione {}, serve almeno {}";
    KNOWN_SINCE = "The account is known since" | "Das Konto ist bekannt seit" | "Le compte est connu depuis" | "L'account è noto dal";
    DO_RETENTION =
        "Have fewer archives kept, or old ones removed."
        | "Lassen Sie weniger Archive aufbewahren oder alte löschen."
        | "Faites conserver moins d'archives, ou supprimer d'anciennes."
        | "Fare conservare meno archivi, oppure eliminare quelli vecchi.";
    DO_QUOTA =
        "Or have the account given more space."
        | "Oder lassen Sie dem Konto mehr Platz geben."
        | "Ou faites accorder plus d'espace au compte."
        | "Oppure fare concedere più spazio all'account.";
    DO_SERVER =
        "See that server and satellite are switched on at the planned times."
        | "Sorgen Sie dafür, dass Server und Satellit zu den geplanten Zeiten eingeschaltet sind."
        | "Veillez à ce que le serveur et le satellite soient allumés aux heures prévues."
        | "Assicurarsi che server e satellite siano accesi agli orari previsti.";
    DO_CAUSE =
        "Remove the reason that the last run names, and back up again."
        | "Beheben Sie den Grund, den der letzte Lauf nennt, und sichern Sie erneut."
        | "Éliminez la raison indiquée par la dernière exécution, puis sauvegardez à nouveau."
        | "Eliminare il motivo indicato dall'ultima esecuzione ed eseguire un nuovo backup.";
    DO_UPDATE =
        "Have it updated."
        | "Lassen Sie es aktualisieren."
        | "Faites-le mettre à jour."
        | "Fare aggiornare il programma.";
    DO_CONFIGURE =
        "Have a backup set up, or the account removed if it is not needed."
        | "Lassen Sie eine Datensicherung einrichten, oder das Konto entfernen, falls es nicht gebraucht wird."
        | "Faites configurer une sauvegarde, ou supprimer le compte s'il n'est pas nécessaire."
        | "Fare configurare un backup, o rimuovere l'account se non serve.";
    DO_SEE =
        "See on the web page how each run went, and why."
        | "Sehen Sie auf der Webseite, wie jeder Lauf ausging und warum."
        | "Consultez sur la page web le résultat de chaque exécution et sa raison."
        | "Controllare sulla pagina web l'esito di ogni esecuzione e il motivo.";
    DO_PASS_ON =
        "What you cannot do yourself is done by whoever looks after the server: pass this mail on."
        | "Was Sie nicht selbst tun können, tut, wer den Server betreut: Leiten Sie diese E-Mail weiter."
        | "Ce que vous ne pouvez pas faire vous-même revient à la personne qui gère le serveur : transmettez-lui ce message."
        | "Ciò che non può fare da sé spetta a chi gestisce il server: inoltri questo messaggio.";

    TEST_SUBJECT = "Test mail of the management module on {}" | "Test-Mail des Management-Moduls auf {}" | "Message d'essai du module de gestion sur {}" | "Messaggio di prova del modulo di gestione su {}";
    TEST =
        "Mails of the management module reach you. Nothing has happened and nothing is to be done."
        | "E-Mails des Management-Moduls erreichen Sie. Es ist nichts geschehen und nichts zu tun."
        | "Les messages du module de gestion vous parviennent. Rien ne s'est passé et il n'y a rien à faire."
        | "I messaggi del modulo di gestione arrivano. Non è successo nulla e non c'è nulla da fare.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_has_all_languages_and_the_same_places() {
        for (name, text) in ALL {
            let languages = text.in_all();
            let places = languages.map(|text| text.matches("{}").count());
            assert!(places.iter().all(|count| *count == places[0]), "{name}");
            assert!(languages.iter().all(|text| !text.is_empty()), "{name}");
        }
    }
}
