"""Builds gateway/market/onet.json.gz: the occupations, titles, tools and tasks of O*NET that the demo market draws on.

Usage: python tools/build_onet_subset.py FOLDER_OF_THE_ONET_TABLES

The same tables always give the same bytes. Changes made to O*NET's wording: alternate titles lose what stands in
parentheses, tools get the names that people write on a profile, long tasks are left out.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

TARGET = Path(__file__).parent.parent / "gateway" / "market" / "onet.json.gz"
SCHEMA = 1

# What a marketplace for knowledge work trades, the most wanted occupation of each category first.
CATEGORIES: dict[str, tuple[str, ...]] = {
    "Software Development": (
        "15-1252.00", "15-1254.00", "15-1253.00", "15-1251.00", "15-1299.08", "15-1255.01", "15-1299.07", "15-1221.00",
    ),
    "Data & Analytics": (
        "15-2051.00", "15-2051.01", "15-1243.01", "15-1243.00", "15-1242.00", "15-2031.00", "15-2041.00", "15-1299.02",
        "13-2099.01", "15-2041.01", "19-1029.01", "43-9111.00",
    ),
    "IT & Security": (
        "15-1212.00", "15-1244.00", "15-1232.00", "15-1211.00", "15-1241.00", "15-1299.05", "15-1299.04", "15-1231.00",
        "15-1299.01", "15-1299.06", "15-1211.01", "15-1299.03",
    ),
    "Design & Creative": (
        "27-1024.00", "15-1255.00", "27-1014.00", "27-1011.00", "27-1025.00", "27-1021.00", "27-1013.00", "27-1022.00",
        "43-9031.00",
    ),
    "Audio & Video": ("27-4032.00", "27-4021.00", "27-4014.00", "27-2012.00", "27-2041.00", "27-4011.00", "27-4031.00"),
    "Writing & Translation": (
        "27-3043.00", "27-3091.00", "27-3041.00", "27-3042.00", "43-9081.00", "27-3023.00", "27-3043.05",
    ),
    "Sales & Marketing": (
        "13-1161.00", "13-1161.01", "11-2021.00", "27-3031.00", "13-1199.06", "11-2022.00", "41-9031.00", "11-2011.00",
        "41-4011.00", "41-3091.00", "43-4051.00", "13-1131.00", "41-3011.00",
    ),
    "Finance & Accounting": (
        "13-2011.00", "43-3031.00", "13-2051.00", "13-2054.00", "43-3051.00", "11-3031.00", "13-2082.00", "13-2041.00",
        "13-2031.00", "15-2011.00", "13-2099.04", "11-3031.01", "43-3021.00",
    ),
    "Engineering & Architecture": (
        "17-2141.00", "17-3011.00", "17-1011.00", "17-2051.00", "17-2071.00", "17-2112.00", "17-3013.00", "17-2072.00",
        "17-2199.08", "17-2199.05", "17-2061.00", "17-2112.02", "17-1012.00", "17-2031.00", "17-2199.11", "17-2081.00",
        "17-1021.00",
    ),
    "Business & Consulting": (
        "13-1111.00", "13-1082.00", "15-1299.09", "11-1021.00", "13-1081.02", "11-3071.04", "13-1051.00", "11-3021.00",
        "13-1199.05", "13-1081.00", "13-1121.00", "13-1199.04",
    ),
    "HR & Training": (
        "13-1071.00", "13-1151.00", "25-9031.00", "13-1141.00", "11-3121.00", "25-3041.00", "11-3131.00", "19-3032.00",
    ),
    "Admin & Support": (
        "43-6014.00", "43-9021.00", "43-6011.00", "43-9061.00", "43-6013.00", "43-5061.00", "43-1011.00", "43-3061.00",
    ),
    "Legal & Compliance": (
        "23-1011.00", "23-2011.00", "11-9199.02", "13-1041.07", "13-1041.00", "43-6012.00", "11-9199.01", "13-1041.08",
    ),
    "Science & Research": (
        "19-3022.00", "11-9121.01", "15-2051.02", "19-3011.00", "19-2041.00", "19-1042.00", "19-3051.00", "19-2031.00",
        "19-1041.00", "19-2099.01", "19-1012.00", "19-4061.00",
    ),
}  # fmt: skip

# O*NET's spelling → a profile's. What is not here loses a trailing "software" and a vendor that nobody writes.
TOOL_NAMES = {
    "AJAX": "Ajax",
    "Amazon Elastic Compute Cloud EC2": "Amazon EC2",
    "Amazon Simple Storage Service S3": "Amazon S3",
    "Amazon Web Services AWS CloudFormation": "AWS CloudFormation",
    "Amazon Web Services AWS software": "AWS",
    "Apache Subversion SVN": "Subversion",
    "Apple iOS": "iOS",
    "Apple macOS": "macOS",
    "Atlassian Confluence": "Confluence",
    "Atlassian JIRA": "Jira",
    "Autodesk AutoCAD": "AutoCAD",
    "Autodesk AutoCAD Civil 3D": "Civil 3D",
    "Autodesk Revit": "Revit",
    "Bentley MicroStation": "MicroStation",
    "Border Gateway Protocol BGP": "BGP",
    "Cascading style sheets CSS": "CSS",
    "Customer relationship management CRM software": "CRM",
    "Dassault Systemes CATIA": "CATIA",
    "Dassault Systemes SolidWorks": "SolidWorks",
    "Enterprise resource planning ERP software": "ERP",
    "Epic Systems": "Epic",
    "ESRI ArcGIS software": "ArcGIS",
    "Extensible markup language XML": "XML",
    "Google Android": "Android",
    "Google Angular": "Angular",
    "Hibernate ORM": "Hibernate",
    "Hypertext markup language HTML": "HTML",
    "IBM SPSS Statistics": "SPSS",
    "IBM Terraform": "Terraform",
    "Intuit QuickBooks": "QuickBooks",
    "JavaScript Object Notation JSON": "JSON",
    "Jenkins CI": "Jenkins",
    "Marketo Marketing Automation": "Marketo",
    "Microsoft .NET Framework": ".NET",
    "Microsoft Active Directory": "Active Directory",
    "Microsoft Active Server Pages ASP": "Classic ASP",
    "Microsoft ASP.NET": "ASP.NET",
    "Microsoft Azure software": "Azure",
    "Microsoft Excel": "Excel",
    "Microsoft Power BI": "Power BI",
    "Microsoft PowerPoint": "PowerPoint",
    "Microsoft PowerShell": "PowerShell",
    "Microsoft SharePoint": "SharePoint",
    "Microsoft SQL Server": "SQL Server",
    "Microsoft SQL Server Integration Services SSIS": "SSIS",
    "Microsoft SQL Server Reporting Services SSRS": "SSRS",
    "Microsoft Visual Basic for Applications VBA": "VBA",
    "Oracle Java": "Java",
    "Oracle JavaServer Pages JSP": "JSP",
    "Oracle PL/SQL": "PL/SQL",
    "React": "React",
    "Spring Framework": "Spring",
    "Structured query language SQL": "SQL",
    "Supervisory control and data acquisition SCADA software": "SCADA",
    "The MathWorks MATLAB": "MATLAB",
    "Transmission Control Protocol/Internet Protocol TCP/IP": "TCP/IP",
    "Trimble SketchUp Pro": "SketchUp",
    "UNIX Shell": "Shell script",
    "Unified modeling language UML": "UML",
    "Vue.js": "Vue.js",
}  # fmt: skip
# On every second profile of every trade, so they say nothing.
DULL = {
    "Microsoft Office software", "Microsoft Word", "Microsoft Outlook", "Microsoft Windows", "Email software",
    "Microsoft operating system", "Microsoft Windows Server", "Web browser software", "Google Docs", "UNIX",
    "Facebook", "YouTube", "LinkedIn", "Instagram", "TikTok", "Zoom", "Cisco Webex", "Microsoft Teams",
    "Microsoft Windows XP", "Microsoft Windows NT", "Microsoft Office SharePoint Server MOSS", "Apple Safari",
    "Mozilla Firefox", "Google Chrome", "Microsoft Internet Explorer", "Eclipse Jersey", "Microsoft Visual Basic",
    "LexisNexis", "Google Gmail", "Handheld computer device software", "iCloud", "JavaScript framework",
    "Database", "Design software", "Project", "Spreadsheet", "Microsoft Office Professional", "Microsoft Publisher",
    "IBM Notes", "Microsoft Works", "Corel WordPerfect Office Suite",
}  # fmt: skip

MOST_TITLES, MOST_TOOLS, MOST_TASKS, MOST_RELATED = 22, 34, 14, 6
MOST_OTHER_TOOLS = 5
LEAST_LIFT = 1.5
LONGEST_TASK = 135


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    """One table. O*NET's files have no quoting."""
    with (folder / f"{name}.txt").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def titles_of(occupation: str, table: list[dict[str, str]]) -> list[str]:
    """What people of one occupation call themselves, the best attested first."""
    found: Counter[str] = Counter()
    for row in table:
        if row["O*NET-SOC Code"] != occupation:
            continue
        title = re.sub(r"\s*\([^)]*\)", "", row["Alternate Title"]).strip()
        sources = row["Source(s)"].split(",")
        plain = re.fullmatch(r"[A-Z.][\w.+#&/'-]*( [A-Za-z+#&/'.-]+){1,3}", title) and len(title) <= 34
        ranked = re.search(r"\b(Senior|Junior|Intern|Trainee|Apprentice|Lead|Sr|Jr|Certified|Worker)\b", title)
        if plain and not ranked:
            # 02: incumbents, 10: employers' postings, 01 and 08: associations and requests; the rest are of the census.
            found[title] += 3 * ("10" in sources) + 3 * ("02" in sources) + ("01" in sources) + ("08" in sources)
    attested = [title for title, weight in found.most_common() if weight > 0]
    return attested[:MOST_TITLES]


def tool_name(example: str, *, hot: bool) -> str | None:
    """The name as a profile has it; None for a kind of software instead of a product."""
    if example in DULL:
        return None
    if example in TOOL_NAMES:
        return TOOL_NAMES[example]
    name = re.sub(r" software$", "", example)
    generic = name != example and not hot and not re.search(r"[A-Z]\S*[A-Z]|[A-Z].* [A-Z]", name)
    return None if generic or len(name) > 32 else name


def tools_by_occupation(table: list[dict[str, str]]) -> dict[str, dict[str, int]]:
    """Tools of each chosen occupation with a weight: 6 in demand, 2 hot, 1 any other."""
    found: dict[str, dict[str, int]] = {code: {} for codes in CATEGORIES.values() for code in codes}
    for row in table:
        tools = found.get(row["O*NET-SOC Code"])
        hot = row["Hot Technology"] == "Y"
        if tools is not None and (name := tool_name(row["Example"], hot=hot)):
            weight = 6 if row["In Demand"] == "Y" else 2 if hot else 1
            tools[name] = max(weight, tools.get(name, 0))
    return found


def telling(tools: dict[str, dict[str, int]]) -> dict[str, list[tuple[str, int]]]:
    """The tools that tell an occupation from the others: in demand there, or commoner in its category than elsewhere.

    O*NET lists hot technologies generously (a recruiter who knows ArcGIS); their lift in the category sorts them out.
    """
    overall = Counter(name for own in tools.values() for name in own)
    kept: dict[str, list[tuple[str, int]]] = {}
    for codes in CATEGORIES.values():
        local = Counter(name for code in codes for name in tools[code])
        lift = {name: (count / len(codes)) / (overall[name] / len(tools)) for name, count in local.items()}
        for code in codes:
            own = [(name, weight) for name, weight in tools[code].items() if weight != 2 or lift[name] >= LEAST_LIFT]
            own.sort(key=lambda item: (-item[1], -min(overall[item[0]], 8), -lift[item[0]], item[0]))
            common = [item for item in own if item[1] > 1]
            kept[code] = common[:MOST_TOOLS] + own[len(common) :][: max(MOST_OTHER_TOOLS, 12 - len(common))]
    return kept


def tasks_of(occupation: str, table: list[dict[str, str]]) -> list[str]:
    """Short core tasks of one occupation, as O*NET orders them."""
    own = [row for row in table if row["O*NET-SOC Code"] == occupation and len(row["Task"]) <= LONGEST_TASK]
    own.sort(key=lambda row: row["Task Type"] != "Core")
    return [row["Task"] for row in own[:MOST_TASKS]]


def build(folder: Path) -> bytes:
    """The subset as gzipped JSON."""
    names = {row["O*NET-SOC Code"]: row["Title"] for row in rows(folder, "Occupation Data")}
    zones = {row["O*NET-SOC Code"]: int(row["Job Zone"]) for row in rows(folder, "Job Zones")}
    alternates, technology, statements = (
        rows(folder, name) for name in ("Alternate Titles", "Technology Skills", "Task Statements")
    )
    chosen = [(category, code) for category, codes in CATEGORIES.items() for code in codes]
    position = {code: index for index, (_, code) in enumerate(chosen)}
    related: dict[str, list[int]] = defaultdict(list)
    for row in rows(folder, "Related Occupations"):
        code, other = row["O*NET-SOC Code"], row["Related O*NET-SOC Code"]
        if code in position and other in position and len(related[code]) < MOST_RELATED:
            related[code].append(position[other])

    tools = telling(tools_by_occupation(technology))
    occupations = [
        {
            "code": code,
            "name": names[code],
            "category": category,
            "zone": zones.get(code, 4),
            "titles": titles_of(code, alternates),
            "tools": tools[code],
            "tasks": tasks_of(code, statements),
            "related": related[code],
        }
        for category, code in chosen
    ]
    content = {"schema": SCHEMA, "source": "O*NET 29.2 Database", "occupations": occupations}
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    packed = build(Path(sys.argv[1]))
    TARGET.write_bytes(packed)
    sys.stdout.write(f"{TARGET}: {len(packed):,} bytes\n")
