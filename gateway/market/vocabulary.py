"""Words of our own that a real market has beside O*NET's: crafts, industries, company names, and what work costs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Category:
    """One category of work. share: of the market; hourly_usd: of an intermediate; crafts: skills that are no tool."""

    share: float
    hourly_usd: float
    remote: float  # share of its jobs that can be done from anywhere
    crafts: tuple[str, ...]


CATEGORIES: dict[str, Category] = {
    "Software Development": Category(
        0.19, 62, 0.92, ("REST APIs", "Microservices", "Code review", "Unit testing", "CI/CD", "System design",
                         "Mobile development", "Agile", "Refactoring", "GraphQL", "Test automation", "DevOps"),
    ),
    "Data & Analytics": Category(
        0.10, 64, 0.90, ("Data modelling", "ETL", "A/B testing", "Forecasting", "Data visualization",
                         "Machine learning", "Data quality", "Dashboards", "Statistics", "Web scraping"),
    ),
    "IT & Security": Category(
        0.08, 50, 0.78, ("Incident response", "Cloud migration", "Network design", "Penetration testing", "Help desk",
                         "Vulnerability management", "Backup and recovery", "ISO 27001", "Identity management"),
    ),
    "Design & Creative": Category(
        0.12, 42, 0.88, ("Branding", "Logo design", "Typography", "Wireframing", "User research", "Illustration",
                         "Packaging", "Prototyping", "Motion graphics", "Design systems", "Presentation design"),
    ),
    "Audio & Video": Category(
        0.05, 38, 0.70, ("Color grading", "Sound mixing", "Storyboarding", "Podcast editing", "Voice-over",
                         "Video editing", "Retouching", "Drone footage", "Mastering", "Subtitling"),
    ),
    "Writing & Translation": Category(
        0.09, 33, 0.97, ("Copywriting", "SEO writing", "Proofreading", "Localization", "Technical writing",
                         "Blog posts", "Ghostwriting", "UX writing", "Spanish", "German", "French", "Transcription"),
    ),
    "Sales & Marketing": Category(
        0.11, 40, 0.86, ("SEO", "Email marketing", "Lead generation", "Market research", "Content strategy",
                         "Paid social", "Cold calling", "Copywriting", "Influencer outreach", "Landing pages"),
    ),
    "Finance & Accounting": Category(
        0.07, 46, 0.80, ("Bookkeeping", "Financial modelling", "Budgeting", "Tax returns", "Month-end close", "IFRS",
                         "Payroll", "Due diligence", "Cash-flow planning", "Audit preparation", "US GAAP"),
    ),
    "Engineering & Architecture": Category(
        0.06, 52, 0.62, ("3D modelling", "Structural analysis", "Construction drawings", "PCB design", "Prototyping",
                         "Finite element analysis", "BIM", "Tolerancing", "Energy modelling", "Rendering"),
    ),
    "Business & Consulting": Category(
        0.06, 66, 0.80, ("Project management", "Business plans", "Process improvement", "Stakeholder management",
                         "Scrum", "Change management", "Supply planning", "Procurement", "Pitch decks"),
    ),
    "HR & Training": Category(
        0.03, 42, 0.82, ("Recruiting", "Onboarding", "Course design", "Interviewing", "Coaching", "E-learning",
                         "Compensation benchmarking", "Employee engagement", "Tutoring"),
    ),
    "Admin & Support": Category(
        0.08, 19, 0.94, ("Data entry", "Calendar management", "Customer support", "Travel booking", "Transcription",
                         "Order processing", "Live chat", "Inbox management", "Web research"),
    ),
    "Legal & Compliance": Category(
        0.03, 74, 0.78, ("Contract drafting", "GDPR", "Trademark filing", "Legal research", "Terms of service",
                         "Anti-money laundering", "Export control", "Company formation", "Policy writing"),
    ),
    "Science & Research": Category(
        0.03, 48, 0.72, ("Literature review", "Survey design", "Statistics", "Grant writing", "Peer review",
                         "Lab protocols", "Environmental impact assessment", "Clinical trials", "Econometrics"),
    ),
}  # fmt: skip

INDUSTRIES = (
    "fintech", "healthcare", "e-commerce", "education", "travel", "real estate", "logistics", "gaming", "media",
    "energy", "manufacturing", "public sector", "food and drink", "fashion", "insurance", "telecoms", "agriculture",
    "non-profit",
)  # fmt: skip

COMPANY_FIRST = (
    "North", "Blue", "Silver", "Bright", "Harbor", "Cedar", "Summit", "Clear", "Iron", "Maple", "River", "Copper",
    "Lumen", "Vertex", "Atlas", "Orbit", "Willow", "Granite", "Falcon", "Meadow", "Nova", "Anchor", "Ember", "Quartz",
    "Tidal", "Juniper", "Beacon", "Cobalt", "Prairie", "Solstice",
)  # fmt: skip
COMPANY_SECOND = (
    "bridge", "field", "stone", "works", "light", "peak", "line", "forge", "gate", "point", "leaf", "wave", "path",
    "craft", "nest", "ridge", "port", "mark", "crest", "loop",
)  # fmt: skip
COMPANY_KIND = ("Labs", "Group", "Studio", "Partners", "Systems", "Health", "Media", "Capital", "Digital", "& Co", "")

ABOUT_TALENT = (
    "I like clear briefs and short feedback loops.",
    "Available for part-time and long-term engagements.",
    "Previous clients call me reliable and easy to work with.",
    "I work independently and report progress every week.",
    "Happy to start with a small paid trial.",
    "I answer within a few hours during my working day.",
    "Long experience with distributed teams.",
    "I care about getting the details right.",
)
ABOUT_JOB = (
    "Please tell us about one similar project that you finished.",
    "We are a small team and decide quickly.",
    "You will report to the head of the department.",
    "Some overlap with our working hours is needed.",
    "A longer engagement is possible if the start goes well.",
    "Only individuals, no agencies please.",
    "We start with a paid trial week.",
    "Good written English is a must.",
)
