"""The language of a text, by script and by frequent words."""

import pytest

from prefrontal.assess.language import detect_language
from prefrontal.assess.text import read_text


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "The dog sleeps under the table and does not hear what we say."),
        ("de", "Der Hund schläft unter dem Tisch und hört nicht, was wir sagen."),
        ("fr", "Le chien dort sous la table et n'entend pas ce que nous disons."),
        ("es", "El perro duerme debajo de la mesa y no oye lo que decimos."),
        ("pt", "O cão dorme debaixo da mesa e não ouve o que dizemos."),
        ("it", "Il cane dorme sotto il tavolo e non sente quello che diciamo."),
        ("nl", "De hond slaapt onder de tafel en hoort niet wat wij zeggen, maar het is goed."),
        ("sv", "Hunden sover under bordet och hör inte vad jag säger till den."),
        ("pl", "Pies śpi pod stołem i nie słyszy, co mówimy, ale jest szczęśliwy."),
        ("tr", "Köpek masanın altında uyuyor ve bizim ne dediğimizi duymuyor."),
        ("vi", "Con chó ngủ dưới bàn và không nghe những gì tôi nói với bạn."),
        ("id", "Anjing itu tidur di bawah meja dan tidak mendengar apa yang saya katakan."),
        ("sw", "Je, ni watu wangapi walio katika nyumba hii kwa siku ya leo?"),
        ("ru", "Собака спит под столом и не слышит, что мы говорим."),
        ("uk", "Собака спить під столом і не чує, що ми кажемо."),
        ("el", "Ο σκύλος κοιμάται κάτω από το τραπέζι."),
        ("zh", "狗在桌子底下睡觉，听不见我们说话。"),
        ("ja", "犬はテーブルの下で寝ています。"),
        ("ko", "개가 탁자 밑에서 자고 있다."),
        ("ar", "الكلب نائم تحت الطاولة."),
        ("fa", "سگ زیر میز خوابیده است و چیزی نمی‌شنود."),
        ("hi", "कुत्ता मेज़ के नीचे सो रहा है।"),
        ("bn", "কুকুরটি টেবিলের নিচে ঘুমাচ্ছে।"),
        ("th", "สุนัขนอนอยู่ใต้โต๊ะ"),
        ("he", "הכלב ישן מתחת לשולחן."),
        ("te", "కుక్క బల్ల కింద నిద్రపోతోంది."),
        (None, "12345 67 @@ 89"),
        (None, ""),
    ],
)
def test_the_language_of_a_sentence_is_told(rules, language, text):
    """One ordinary sentence is enough, and nothing is claimed about none."""
    view = read_text(text)
    assert detect_language(view.sample, frozenset(view.ask), rules.languages) == language


def test_a_foreign_name_does_not_change_the_language(read):
    """An English question about a foreign name, title or letter stays English."""
    assert read("Who wrote the novel Cien años de soledad and when was it first published?").needs.language == "en"
    assert read("What does the Greek letter λ mean in physics, and where is it used?").needs.language == "en"
    assert read("Who painted 東海道五十三次, and how many prints are there in the series?").needs.language == "en"
