"""Where people and clients are: countries with their currency, time zone, price level and names."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Country:
    """One country. talents, clients: shares of the market; prices: rates relative to the United States."""

    code: str  # ISO 3166-1 alpha-2
    talents: float
    clients: float
    currency: str
    timezone: str
    utc_offset_hours: int
    prices: float
    names: str  # key into NAMES


COUNTRIES: tuple[Country, ...] = (
    Country("US", 0.22, 0.42, "USD", "America/New_York", -5, 1.00, "english"),
    Country("IN", 0.15, 0.04, "USD", "Asia/Kolkata", 5, 0.38, "indian"),
    Country("GB", 0.07, 0.11, "GBP", "Europe/London", 0, 0.95, "english"),
    Country("PH", 0.06, 0.01, "USD", "Asia/Manila", 8, 0.30, "filipino"),
    Country("UA", 0.05, 0.01, "USD", "Europe/Kyiv", 2, 0.48, "slavic"),
    Country("DE", 0.05, 0.08, "EUR", "Europe/Berlin", 1, 0.98, "german"),
    Country("PK", 0.05, 0.01, "USD", "Asia/Karachi", 5, 0.30, "southasian"),
    Country("BR", 0.04, 0.02, "USD", "America/Sao_Paulo", -3, 0.48, "portuguese"),
    Country("CA", 0.04, 0.07, "USD", "America/Toronto", -5, 0.92, "english"),
    Country("PL", 0.04, 0.02, "EUR", "Europe/Warsaw", 1, 0.62, "slavic"),
    Country("ES", 0.03, 0.03, "EUR", "Europe/Madrid", 1, 0.70, "spanish"),
    Country("FR", 0.03, 0.04, "EUR", "Europe/Paris", 1, 0.88, "french"),
    Country("NG", 0.03, 0.01, "USD", "Africa/Lagos", 1, 0.30, "nigerian"),
    Country("MX", 0.02, 0.01, "USD", "America/Mexico_City", -6, 0.48, "spanish"),
    Country("AR", 0.02, 0.01, "USD", "America/Argentina/Buenos_Aires", -3, 0.46, "spanish"),
    Country("NL", 0.02, 0.03, "EUR", "Europe/Amsterdam", 1, 0.96, "dutch"),
    Country("AU", 0.02, 0.04, "USD", "Australia/Sydney", 10, 0.95, "english"),
    Country("PT", 0.02, 0.01, "EUR", "Europe/Lisbon", 0, 0.62, "portuguese"),
    Country("IT", 0.02, 0.02, "EUR", "Europe/Rome", 1, 0.74, "italian"),
    Country("VN", 0.01, 0.01, "USD", "Asia/Ho_Chi_Minh", 7, 0.34, "vietnamese"),
)

# US dollars per unit, rounded: a demo needs stable numbers, not today's.
USD_PER_UNIT = {"USD": 1.0, "EUR": 1.1, "GBP": 1.28}

NAMES: dict[str, tuple[str, str]] = {
    "english": (
        "James Emma Oliver Grace Daniel Sophie Michael Hannah Ryan Chloe Thomas Megan Andrew Olivia Marcus Ruby Zoe",
        "Smith Carter Walker Hughes Bennett Foster Morgan Reid Palmer Shaw Brooks Hayes Coleman Grant Ellis Price",
    ),
    "indian": (
        "Priya Arjun Ananya Rohan Kavya Vikram Neha Aditya Meera Rahul Divya Karthik Shreya Nikhil Pooja Sanjay",
        "Sharma Nair Patel Iyer Reddy Gupta Menon Desai Rao Kulkarni Singh Joshi Banerjee Pillai Mehta Bhat",
    ),
    "filipino": (
        "Maria Jose Angelica Mark Jasmine Paolo Kristine Miguel Camille Rafael Bianca Carlo Andrea Joshua",
        "Santos Reyes Cruz Bautista Garcia Mendoza Torres Castillo Ramos Villanueva Aquino Navarro Dizon Salazar",
    ),
    "slavic": (
        "Olena Andriy Kateryna Piotr Anna Dmytro Zofia Oleksandr Magdalena Taras Agnieszka Bohdan Iryna Marek",
        "Kovalenko Nowak Shevchenko Wójcik Bondarenko Kowalczyk Melnyk Zielinski Tkachenko Mazur Lysenko Moroz",
    ),
    "german": (
        "Lukas Anna Felix Lena Jonas Marie Maximilian Clara Tobias Johanna Sebastian Katharina Florian Miriam",
        "Müller Schneider Fischer Weber Hoffmann Schäfer Koch Richter Wolf Neumann Schwarz Krüger Hartmann Lorenz",
    ),
    "southasian": (
        "Ayesha Hamza Fatima Usman Zainab Bilal Sana Ahmed Hira Imran Maryam Faisal Nadia Omar",
        "Khan Malik Hussain Sheikh Qureshi Raza Siddiqui Chaudhry Mirza Butt Farooq Aslam Iqbal Javed",
    ),
    "portuguese": (
        "Ana João Beatriz Pedro Mariana Lucas Camila Rafael Inês Tiago Larissa Gustavo Carolina Diogo",
        "Silva Souza Oliveira Costa Ferreira Almeida Pereira Carvalho Ribeiro Martins Rocha Barbosa Teixeira Moreira",
    ),
    "spanish": (
        "Lucía Javier Sofía Diego Valentina Carlos Elena Mateo Carmen Andrés Paula Martín Isabel Joaquín",
        "García Fernández López Martínez Romero Ruiz Herrera Molina Ortega Delgado Vargas Castro Núñez Paredes",
    ),
    "french": (
        "Camille Antoine Chloé Julien Manon Nicolas Léa Mathieu Élodie Thomas Claire Vincent Juliette Hugo",
        "Martin Bernard Dubois Laurent Lefèvre Moreau Girard Roux Fontaine Mercier Blanc Garnier Chevalier Renard",
    ),
    "nigerian": (
        "Chinedu Amaka Tunde Ngozi Emeka Funmilayo Ibrahim Adaeze Segun Zainab Kelechi Yetunde",
        "Okafor Adeyemi Eze Balogun Nwosu Abubakar Okonkwo Ogunleye Musa Chukwu Adebayo Ekwueme",
    ),
    "dutch": (
        "Daan Sanne Bram Fleur Thijs Lotte Jeroen Femke Ruben Anouk Sander Maaike",
        "de Vries|van Dijk|Bakker|Visser|Smit|Meijer|de Boer|Mulder|Bos|van den Berg|Dekker|Jansen",
    ),
    "italian": (
        "Giulia Marco Francesca Luca Chiara Alessandro Martina Davide Elisa Matteo Silvia Andrea",
        "Rossi Russo Ferrari Esposito Bianchi Romano Colombo Ricci Marino Greco Conti Galli",
    ),
    "vietnamese": (
        "Linh Minh Huong Tuan Thao Duc Mai Quang Lan Khoa Trang Phuc",
        "Nguyen Tran Le Pham Hoang Phan Vu Dang Bui Do Ngo Duong",
    ),
}


def name_pool(key: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """First and last names of one pool."""
    first, last = NAMES[key]
    return tuple(first.split()), tuple(last.split("|") if "|" in last else last.split())
